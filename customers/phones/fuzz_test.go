package phones

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzMessages: what a stranger sends as SCRAM is refused, or has one form only.
func FuzzMessages(f *testing.F) {
	f.Add("p=kessai-sale,,n=suzuki,r=0123456789abcdef", "c=AAAA,r=x,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	f.Add("n,,n=suzuki,r=0123456789abcdef", "c=biws,r=x,p=")
	f.Add("p=kessai-sale,a=x,n=su=2Czuki,r=0123456789abcdef", "c=AAAA\n,r=x,m=y,p=AAAA")
	f.Fuzz(func(t *testing.T, first, final string) {
		if c, err := parseClientFirst(first, BindSale); err == nil {
			if again := "p=" + BindSale + ",,n=" + string(c.customer) + ",r=" + c.nonce; again != first {
				t.Errorf("%q is read as %q", first, again)
			}
		}
		if c, err := parseClientFinal(final); err == nil {
			bound, rest, _ := strings.Cut(c.withoutProof, ",")
			if len(c.proof) != 32 || decode(strings.TrimPrefix(bound, "c=")) == nil || rest != "r="+c.nonce || !strings.HasPrefix(final, c.withoutProof+",p=") {
				t.Errorf("%q is read as %+v", final, c)
			}
		}
	})
}

// FuzzEvidence: whatever somebody calls evidence, it does not hold.
func FuzzEvidence(f *testing.F) {
	f.Add([]byte(`{"v":1,"sale":"AAAA","factor":"password","scram":{"auth_message":"n=a,r=b,r=bc,s=d,i=1,c=e,r=bc","sealed":"AAAA"},"device":{"id":"","name":"","key":"AAAA","signature":"AAAA"},"time":"2026-11-22T10:00:00Z"}`))
	f.Add([]byte(`{"v":1,"factor":"passkey","passkey":{"credential":"AA==","public_key":"oA==","authenticator_data":"AAAA","client_data":"e30=","signature":"AAAA","nonce":"AAAA"},"device":{"id":"","name":"","key":"","signature":""},"time":"2026-11-22T10:00:00Z"}`))
	keys, err := NewKeys(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if r, err := Verify(text, Shown{42, []byte("x")}, keys); err == nil && r.Holds() {
			t.Errorf("%q holds", text)
		}
	})
}
