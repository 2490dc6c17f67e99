// A sale as the customer sees it and signs it: the same bytes and the same digest
// as the gateway makes (package pos/sale in Go). docs/SALE-DIGEST.md describes them
// byte by byte. It needs nothing but TextEncoder and WebCrypto, so it runs in a
// browser and in Node.js.
//
// Whoever shows a sale should show what encodeSale accepted, and amounts with
// decimalOf: what is signed must be what is seen.

// SaleError says why a sale can be neither shown nor signed.
export class SaleError extends Error {
  constructor(field, what) {
    super(`${field} ${what}`);
    this.name = 'SaleError';
    this.field = field;
  }
}

const VERSION = 'kessai sale 1';
const MAX_AMOUNT = 999_999_999_999;

// ISO 4217, list one: the currencies by the number of decimals of their minor
// unit. Intl.NumberFormat is not asked: it follows CLDR, which rounds some
// currencies as cash is rounded.
const EXPONENTS = new Map([
  [0, 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF'],
  [2, `AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP
    CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR
    IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN
    NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP
    STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG`],
  [3, 'BHD IQD JOD KWD LYD OMR TND'],
].flatMap(([exponent, codes]) => codes.split(/\s+/).map((code) => [code, exponent])));

// exponentOf gives the number of decimals of a currency, undefined where ISO 4217
// does not know it.
export function exponentOf(currency) {
  return EXPONENTS.get(currency);
}

// decimalOf writes an amount ({value, currency}) in whole units, as 4.50, with a
// point and nothing between thousands.
export function decimalOf({ value, currency }) {
  const exponent = exponentOf(currency);
  if (exponent === undefined || !Number.isSafeInteger(value)) {
    throw new SaleError('amount', 'needs whole minor units and a currency of ISO 4217');
  }
  const digits = String(Math.abs(value)).padStart(exponent + 1, '0');
  const whole = digits.slice(0, digits.length - exponent);
  const sign = value < 0 ? '-' : '';
  return sign + (exponent ? `${whole}.${digits.slice(-exponent)}` : whole);
}

// Code points that no text may hold, from and to, in ascending order: the list of
// docs/SALE-DIGEST.md. The tables of Unicode are not asked, since every browser has
// another version of them.
const UNSEEN = [
  0x0000, 0x001f, 0x007f, 0x009f, 0x00ad, 0x00ad, 0x034f, 0x034f, 0x0600, 0x0605, 0x061c, 0x061c, 0x06dd, 0x06dd,
  0x070f, 0x070f, 0x0890, 0x0891, 0x08e2, 0x08e2, 0x115f, 0x1160, 0x1680, 0x1680, 0x17b4, 0x17b5, 0x180b, 0x180f,
  0x2000, 0x200b, 0x200e, 0x200f, 0x2028, 0x202f, 0x205f, 0x206f, 0x2800, 0x2800, 0x3164, 0x3164, 0xd800, 0xf8ff,
  0xfdd0, 0xfdef, 0xfe00, 0xfe0d, 0xfeff, 0xfeff, 0xffa0, 0xffa0, 0xfff0, 0xffff, 0x110bd, 0x110bd,
  0x110cd, 0x110cd, 0x13430, 0x1343f, 0x1bca0, 0x1bca3, 0x1d173, 0x1d17a, 0x1fffe, 0x1ffff, 0x2fffe, 0x2ffff,
  0x3fffe, 0x10ffff,
];

// Marks that are put above or below the character before them, from and to.
const MARKS = [
  0x0300, 0x036f, 0x0483, 0x0489, 0x0591, 0x05bd, 0x0610, 0x061a, 0x064b, 0x065f, 0x06d6, 0x06dc, 0x06df, 0x06e4,
  0x06e7, 0x06e8, 0x06ea, 0x06ed, 0x08d3, 0x08e1, 0x08e3, 0x08ff, 0x0e34, 0x0e3a, 0x0e47, 0x0e4e, 0x0eb4, 0x0ebc,
  0x0ec8, 0x0ece, 0x1ab0, 0x1aff, 0x1dc0, 0x1dff, 0x20d0, 0x20ff, 0x302a, 0x302f, 0x3099, 0x309a, 0xfe20, 0xfe2f,
];
const MAX_MARKS = 4;

const NON_JOINER = 0x200c;
const JOINER = 0x200d;
const TEXT_FORM = 0xfe0e;
const EMOJI_FORM = 0xfe0f;

function within(spans, c) {
  for (let i = 0; i < spans.length; i += 2) {
    if (c <= spans[i + 1]) return c >= spans[i];
  }
  return false;
}

const isSpace = (c) => c === 0x20 || c === 0xa0 || c === 0x3000;
const isForm = (c) => c === NON_JOINER || c === JOINER || c === TEXT_FORM || c === EMOJI_FORM;
const takesForm = (before, c) =>
  before >= 0x600 && !isSpace(before) && (!isForm(before) || (before === EMOJI_FORM && c === JOINER));

// checkText throws where a text cannot stand on a sale: it would not be what is seen.
export function checkText(field, s, most) {
  if (typeof s !== 'string') throw new SaleError(field, 'must be a text');
  let before = 0x20; // a space cannot be first
  let row = 0;
  let count = 0;
  for (const character of s) {
    const c = character.codePointAt(0);
    count += 1;
    if (count > most) throw new SaleError(field, `must have at most ${most} characters`);
    if (within(UNSEEN, c) || (isForm(c) && !takesForm(before, c))) {
      throw new SaleError(field, `must not hold U+${c.toString(16).toUpperCase().padStart(4, '0')} there`);
    }
    if (isSpace(c) && isSpace(before)) {
      throw new SaleError(field, 'must not begin or end with a space, nor have two in a row');
    }
    row = within(MARKS, c) ? row + 1 : 0;
    if (row > MAX_MARKS || (row > 0 && isSpace(before))) {
      throw new SaleError(field, 'must not have a mark without a character, nor more than 4 marks on one');
    }
    before = c;
  }
  if (s !== '' && (isSpace(before) || before === JOINER || before === NON_JOINER)) {
    throw new SaleError(field, 'must not end with a space or a joiner');
  }
  return s;
}

function name(field, s, most) {
  if (checkText(field, s, most) === '') throw new SaleError(field, 'is missing');
  return s;
}

// id checks a name that machines use: printable ASCII, no space at either end.
function id(field, s, least, most) {
  if (typeof s !== 'string' || s.length < least || s.length > most || !/^[ -~]*$/.test(s) || s.trim() !== s) {
    throw new SaleError(field, `must be ${least} to ${most} characters of printable ASCII, without a space at either end`);
  }
  return s;
}

function matching(field, s, pattern) {
  if (typeof s !== 'string' || !pattern.test(s)) throw new SaleError(field, 'is not as it must be');
  return s;
}

function whole(field, n, least, most) {
  if (!Number.isSafeInteger(n) || n < least || n > most) {
    throw new SaleError(field, `must be a whole number from ${least} to ${most}`);
  }
  return n;
}

// members refuses what it does not know: it would be neither shown nor signed.
function members(field, o, names) {
  if (typeof o !== 'object' || o === null || Array.isArray(o)) throw new SaleError(field, 'must be an object');
  for (const key of Object.keys(o)) {
    if (!names.includes(key)) throw new SaleError(field, 'has a member that is not known');
  }
  return o;
}

function amount(field, a) {
  members(field, a, ['value', 'currency']);
  whole(field, a.value, 1, MAX_AMOUNT);
  if (typeof a.currency !== 'string' || !EXPONENTS.has(a.currency)) {
    throw new SaleError(field, 'needs a currency of ISO 4217');
  }
  return a;
}

const encoder = new TextEncoder();

// field gives tag, length (4 bytes, the highest first) and value.
function field(tag, value) {
  const bytes = value instanceof Uint8Array ? value : encoder.encode(String(value));
  const out = new Uint8Array(5 + bytes.length);
  out[0] = tag;
  new DataView(out.buffer).setUint32(1, bytes.length);
  out.set(bytes, 5);
  return out;
}

function join(parts) {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

function isTime(s) {
  const t = new Date(s);
  return !Number.isNaN(t.getTime()) && t.toISOString() === s && t.getUTCFullYear() >= 1970 && t.getUTCFullYear() <= 9999;
}

function encodeItem(it) {
  members('items', it, ['code', 'name', 'quantity', 'price', 'tax']);
  const parts = [
    field(1, checkText('code', it.code, 32)),
    field(2, name('name', it.name, 80)),
    field(3, whole('quantity', it.quantity, 1, 999_999)),
    field(4, whole('price', it.price, -MAX_AMOUNT, MAX_AMOUNT)),
    field(5, whole('tax', it.tax, -1, 10_000)),
  ];
  if (Math.abs(it.quantity * it.price) > MAX_AMOUNT) {
    throw new SaleError('quantity times price', `must be from -${MAX_AMOUNT} to ${MAX_AMOUNT}`);
  }
  return field(10, join(parts));
}

function encodeForeign(f, currency) {
  members('foreign', f, ['total', 'rate', 'date']);
  amount('foreign total', f.total);
  if (f.total.currency === currency) throw new SaleError('foreign total', 'must be in another currency than the total');
  matching('rate', f.rate, /^(?=.*[1-9])(0|[1-9][0-9]{0,11})(\.[0-9]{1,12})?$/);
  matching('rate date', f.date, /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/);
  if (!isTime(`${f.date}T00:00:00.000Z`)) throw new SaleError('rate date', 'must be a day, as 2026-11-20');
  return field(13, join([
    field(1, f.total.value),
    field(2, f.total.currency),
    field(3, f.rate),
    field(4, f.date),
  ]));
}

// encodeSale gives the one encoding of a sale (a Uint8Array), from the JSON form
// that the gateway sends. It throws SaleError where the sale can be neither shown
// nor signed.
export function encodeSale(sale) {
  members('sale', sale, ['id', 'reference', 'merchant', 'shop', 'terminal', 'customer', 'kind', 'time', 'items', 'total', 'foreign']);
  const parts = [
    field(1, VERSION),
    field(2, matching('id', sale.id, /^pay_(?!0{12})[0-9]{12}$/)),
    field(3, id('reference', sale.reference, 0, 40)),
    field(4, id('merchant', sale.merchant, 1, 15)),
    field(5, name('shop', sale.shop, 80)),
    field(6, id('terminal', sale.terminal, 1, 8)),
    field(7, id('customer', sale.customer, 1, 40)),
    field(8, matching('kind', sale.kind, /^(purchase|pre_authorization)$/)),
    field(9, matching('time', sale.time, /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$/)),
  ];
  if (!isTime(sale.time)) throw new SaleError('time', 'must be as 2026-11-22T10:00:00.000Z');
  amount('total', sale.total);
  const purchase = sale.kind === 'purchase';
  if (!Array.isArray(sale.items) || sale.items.length > 100 || (purchase && sale.items.length === 0)) {
    throw new SaleError('items', 'must have 1 to 100 lines');
  }
  parts.push(...sale.items.map(encodeItem));
  // At most 100 times MAX_AMOUNT, so a number holds it exactly.
  const sum = sale.items.reduce((n, it) => n + it.quantity * it.price, 0);
  if (purchase && sum !== sale.total.value) throw new SaleError('items', 'must add up to the total');
  parts.push(field(11, sale.total.value), field(12, sale.total.currency));
  if (sale.foreign !== undefined && sale.foreign !== null) parts.push(encodeForeign(sale.foreign, sale.total.currency));
  return join(parts);
}

// digestSale gives the SHA-256 of the encoding (a Uint8Array of 32 bytes).
export async function digestSale(sale) {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', encodeSale(sale)));
}
