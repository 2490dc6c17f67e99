package phones

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"math/big"
)

const (
	signLabel    = "kessai approve v1\x00"
	passkeyLabel = "kessai passkey v1\x00"
)

// parseDeviceKey reads a public key as WebCrypto exports it: SubjectPublicKeyInfo
// of P-256, and not a byte otherwise than it would be written again.
func parseDeviceKey(spki []byte) (*ecdsa.PublicKey, error) {
	bad := fmt.Errorf("%w: a device key must be the SubjectPublicKeyInfo of a P-256 key", ErrMalformed)
	if len(spki) > 256 {
		return nil, bad
	}
	parsed, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, bad
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, bad
	}
	again, err := x509.MarshalPKIXPublicKey(key)
	if err != nil || !bytes.Equal(again, spki) {
		return nil, bad
	}
	return key, nil
}

// SignedBytes gives what a device signs: the digest of what is agreed to, and what
// was said about it (see the package comment).
func SignedBytes(digest [32]byte, said []byte) []byte {
	h := sha256.Sum256(said)
	return bytes.Join([][]byte{[]byte(signLabel), digest[:], h[:]}, nil)
}

// signedBy reports whether a device signed. The signature is r and s, 32 bytes
// each, as WebCrypto gives them (IEEE P1363). Of the two that every signer can make
// out of one (s and n-s) both hold; a try is used up by the first.
func signedBy(spki []byte, digest [32]byte, said, signature []byte) bool {
	key, err := parseDeviceKey(spki)
	if err != nil || len(signature) != 64 {
		return false
	}
	h := sha256.Sum256(SignedBytes(digest, said))
	return ecdsa.Verify(key, h[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
}

// PasskeyChallenge gives what a passkey signs to approve a sale.
func PasskeyChallenge(digest [32]byte, nonce []byte) []byte {
	h := sha256.Sum256(bytes.Join([][]byte{[]byte(passkeyLabel), digest[:], nonce}, nil))
	return h[:]
}
