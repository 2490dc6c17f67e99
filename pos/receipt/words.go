package receipt

import (
	"slices"
	"strings"
)

// Lang is one of the languages that a receipt can be in.
type Lang string

// The languages.
const (
	English  Lang = "en"
	Japanese Lang = "ja"
	German   Lang = "de"
	Arabic   Lang = "ar"
)

// Languages lists the languages that there are.
func Languages() []Lang { return []Lang{English, Japanese, German, Arabic} }

// Language gives the first language that there is of a list such as de, de-AT or
// an Accept-Language header, in the order written, and English where there is none.
func Language(list string) Lang {
	for part := range strings.SplitSeq(list, ",") {
		tag, _, _ := strings.Cut(part, ";")
		tag, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		if slices.Contains(Languages(), Lang(tag)) {
			return Lang(tag)
		}
	}
	return English
}

// words are the fixed words of one language, and how it writes numbers.
type words struct {
	dir            string // of writing, as HTML names it
	group, decimal string // between thousands, before the decimals

	receipt, date, payment, approvalCode, reference, shop, terminal, customer string
	paidWith, phone, reader, item, price                                      string

	total, upTo, paid, back, account, toAccount, rate, check string
	taxIn                                                    string // mark, rate, sum that the tax is in

	outcomes map[Outcome]string
	noMoney  string // said where nothing was paid
}

func wordsOf(l Lang) *words {
	switch l {
	case Japanese:
		return &japanese
	case German:
		return &german
	case Arabic:
		return &arabic
	}
	return &english
}

var english = words{
	dir: "ltr", group: ",", decimal: ".",
	receipt: "Receipt", date: "Date", payment: "Payment no.", approvalCode: "Approval code", reference: "Reference",
	shop: "Shop no.", terminal: "Terminal", customer: "Customer", paidWith: "Paid with", phone: "Phone", reader: "Card, own reader",
	item: "Item", price: "Price",
	total: "Total", upTo: "Reserved, up to", paid: "Paid", back: "Given back", account: "From your account", toAccount: "To your account", taxIn: "%s: %s tax in %s",
	rate: "Exchange rate", check: "Check this receipt",
	outcomes: map[Outcome]string{
		Waiting: "Waiting for the customer", Approved: "Paid", Held: "Reserved, not paid yet", Released: "Ended without payment",
		Declined: "Declined", Cancelled: "Cancelled", Expired: "Not confirmed in time", Reversed: "Reversed", Refunded: "Refunded",
	},
	noMoney: "Nothing was paid.",
}

var japanese = words{
	dir: "ltr", group: ",", decimal: ".",
	receipt: "領収書", date: "日時", payment: "取引番号", approvalCode: "承認番号", reference: "照会番号",
	shop: "加盟店番号", terminal: "端末番号", customer: "お客様番号", paidWith: "お支払方法", phone: "スマートフォン", reader: "カード (お手元の読取機)",
	item: "品名", price: "金額",
	total: "合計", upTo: "予約額（上限）", paid: "お支払額", back: "返金額", account: "口座からの引落額", toAccount: "口座への返金額", taxIn: "%s: %s対象 %s 内税",
	rate: "換算レート", check: "領収書の確認",
	outcomes: map[Outcome]string{
		Waiting: "お客様の確認待ち", Approved: "お支払い済み", Held: "予約済み（未払い）", Released: "お支払いなしで終了",
		Declined: "承認されませんでした", Cancelled: "取り消されました", Expired: "時間内に確認されませんでした", Reversed: "取消済み", Refunded: "返金済み",
	},
	noMoney: "お支払いは発生していません。",
}

var german = words{
	dir: "ltr", group: ".", decimal: ",",
	receipt: "Beleg", date: "Datum", payment: "Zahlung Nr.", approvalCode: "Genehmigungs-Nr.", reference: "Referenz",
	shop: "Händler-Nr.", terminal: "Terminal", customer: "Kunde", paidWith: "Bezahlt mit", phone: "Handy", reader: "Karte, eigener Leser",
	item: "Artikel", price: "Preis",
	total: "Summe", upTo: "Reserviert bis zu", paid: "Bezahlt", back: "Zurückgegeben", account: "Von Ihrem Konto", toAccount: "Auf Ihr Konto", taxIn: "%s: %s MwSt. in %s",
	rate: "Wechselkurs", check: "Beleg prüfen",
	outcomes: map[Outcome]string{
		Waiting: "Wartet auf den Kunden", Approved: "Bezahlt", Held: "Reserviert, noch nicht bezahlt", Released: "Ohne Zahlung beendet",
		Declined: "Abgelehnt", Cancelled: "Abgebrochen", Expired: "Nicht rechtzeitig bestätigt", Reversed: "Storniert", Refunded: "Erstattet",
	},
	noMoney: "Es wurde nichts bezahlt.",
}

var arabic = words{
	dir: "rtl", group: ",", decimal: ".",
	receipt: "إيصال", date: "التاريخ", payment: "رقم الدفعة", approvalCode: "رمز الموافقة", reference: "المرجع",
	shop: "رقم المتجر", terminal: "الجهاز", customer: "العميل", paidWith: "طريقة الدفع", phone: "الهاتف", reader: "بطاقة بقارئ العميل",
	item: "الصنف", price: "السعر",
	total: "المجموع", upTo: "محجوز حتى", paid: "المدفوع", back: "المبلغ المعاد", account: "من حسابك", toAccount: "إلى حسابك", taxIn: "ضريبة \u2066%s %s\u2069 ضمن \u2066%s\u2069",
	rate: "سعر الصرف", check: "تحقق من هذا الإيصال",
	outcomes: map[Outcome]string{
		Waiting: "في انتظار العميل", Approved: "تم الدفع", Held: "محجوز، لم يُدفع بعد", Released: "انتهى بدون دفع",
		Declined: "مرفوض", Cancelled: "ملغى", Expired: "لم يُؤكَّد في الوقت المحدد", Reversed: "تم العكس", Refunded: "تم رد المبلغ",
	},
	noMoney: "لم يُدفع أي مبلغ.",
}
