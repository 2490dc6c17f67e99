// Holds sale.js to what Go says of the same sales, which comes on the standard
// input with the module itself, as text: no package.json has to say what it is.
import { readFileSync } from 'node:fs';

const { module, sales, texts, currencies, decimals, points } = JSON.parse(readFileSync(0, 'utf8'));
const { encodeSale, digestSale, checkText, exponentOf, decimalOf, SaleError } =
  await import(`data:text/javascript;base64,${Buffer.from(module).toString('base64')}`);

Error.stackTraceLimit = 0; // a hundred thousand refusals are expected
const wrong = [];
const refused = (f) => {
  try {
    f();
    return false;
  } catch (e) {
    if (!(e instanceof SaleError)) throw e;
    return true;
  }
};

for (const { sale, digest } of sales) {
  const no = refused(() => encodeSale(sale));
  if (no !== (digest === '')) wrong.push(`${JSON.stringify(sale).slice(0, 400)}: refused ${no}, Go has ${digest || 'refused it'}`);
  if (no || digest === '') continue;
  const got = Buffer.from(await digestSale(sale)).toString('hex');
  if (got !== digest) wrong.push(`${JSON.stringify(sale).slice(0, 400)}: digest ${got}, Go has ${digest}`);
}
for (const { why, ok, text } of texts) {
  if (refused(() => checkText('name', text, 80)) === ok) wrong.push(`text ${why}: not fine ${ok}`);
}
for (const [code, exponent] of Object.entries(currencies)) {
  if (exponentOf(code) !== exponent) wrong.push(`${code} has ${exponentOf(code)} decimals, in Go ${exponent}`);
}
for (let i = 0; i < 26 ** 3; i += 1) {
  const code = String.fromCharCode(65 + Math.floor(i / 676), 65 + (Math.floor(i / 26) % 26), 65 + (i % 26));
  if (exponentOf(code) !== currencies[code]) wrong.push(`${code} is known here or in Go, not in both`);
}
for (const [text, value] of Object.entries(decimals)) {
  const [number, currency] = text.split(' ');
  if (decimalOf({ value, currency }) !== number) wrong.push(`${text} is written ${decimalOf({ value, currency })}`);
}
for (const [key, ok] of Object.entries(points)) {
  const c = Number(key);
  if (refused(() => checkText('name', `Ж${String.fromCodePoint(c)}Ж`, 80)) === ok) wrong.push(`U+${c.toString(16)}: Go says fine ${ok}`);
}

if (wrong.length > 0) {
  console.error(wrong.slice(0, 20).join('\n'));
  process.exit(1);
}
console.log(`${sales.length} sales, ${texts.length} texts, ${Object.keys(points).length} code points and ${Object.keys(currencies).length} currencies agree`);
