// Tests of the phone app's parts that need no browser: node --test phone.test.mjs
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";
import { sha256, utf8 } from "../phone/bytes.js";
import * as scram from "../phone/scram.js";

const folder = new URL("../phone/", import.meta.url);

// The example of RFC 7677, section 3.
const example = {
  nonce: "rOprNGfwEbeRWgbNEkqO",
  serverFirst: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
  final: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
  serverFinal: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
};

test("SCRAM says what RFC 7677 says", async () => {
  const begun = scram.begin("user", "n,,", example.nonce);
  assert.equal(begun.first, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
  const said = await scram.finish(begun, example.serverFirst, "pencil");
  assert.equal(said.final, example.final);
  assert.ok(said.trusts(example.serverFinal));
  for (const no of ["v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "v=", "e=invalid-proof", "", undefined]) assert.ok(!said.trusts(no), String(no));
});

test("a proof is bound to what it is about", async () => {
  const begun = scram.begin("user", "p=kessai-sale,,", example.nonce);
  const one = await scram.finish(begun, example.serverFirst, "pencil", await sha256(utf8("one sale")));
  const other = await scram.finish(begun, example.serverFirst, "pencil", await sha256(utf8("another")));
  assert.notEqual(one.final.split("p=")[1], other.final.split("p=")[1]);
  const bound = Buffer.from(one.final.slice(2).split(",")[0], "base64");
  assert.equal(bound.subarray(0, 15).toString(), "p=kessai-sale,,");
  assert.deepEqual(new Uint8Array(bound.subarray(15)), await sha256(utf8("one sale")));
  assert.equal(one.whole, `${begun.bare},${example.serverFirst},${one.final.slice(0, one.final.lastIndexOf(",p="))}`);
});

test("what a server must not ask for", async () => {
  const begun = scram.begin("user", "n,,", "abc");
  for (const no of [
    "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "r=abc,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "r=abcd,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4095",
    "r=abcd,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=999999999", "r=abcd,s=,i=4096", "m=x,r=abcd,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "r=abcd,s=W22ZaJ0SNY7soEsUEjb6gQ==", "",
  ]) await assert.rejects(scram.finish(begun, no, "pencil"), no);
});

test("a password is one, however it is typed", () => {
  for (const [typed, meant] of [
    ["I\u00ADX", "IX"], ["user", "user"], ["\u00AA", "a"], ["\u2168", "IX"], // RFC 4013, section 3
    ["ａｏｉ－１２３４", "aoi-1234"], ["a\u3000b", "a b"], ["e\u0301", "\u00E9"], ["ﾊﾟｽ", "パス"],
  ]) assert.equal(scram.prepare(typed), meant);
  for (const no of ["", "\u00AD", "a\u0007", "a\u0085"]) assert.throws(() => scram.prepare(no), RangeError);
});

test("names are written so that they can be read again", () => {
  assert.equal(scram.begin("a=b,c", "n,,", "x").first, "n,,n=a=3Db=2Cc,r=x");
});

test("a verifier is written as PostgreSQL writes it", async () => {
  const salt = new Uint8Array(Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64"));
  assert.equal(await scram.verifier("pencil", 4096, salt),
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
  assert.notEqual(await scram.verifier("pencil", 4096), await scram.verifier("pencil", 4096));
});

test("every language has words for everything, in every form that it has", async () => {
  const sources = [folder, new URL("views/", folder)].flatMap((f) => readdirSync(f).filter((n) => n.endsWith(".js")).map((n) => readFileSync(new URL(n, f), "utf8"))).join("\n");
  const said = new Set([...sources.matchAll(/\bt\("([a-z_]+[a-z])"/g)].map((m) => m[1]));
  const en = (await import("../phone/i18n/en.js")).default;
  for (const key of said) assert.ok(key in en, `there are no words for ${key}`);
  for (const lang of ["en", "ja", "de", "ar"]) {
    const words = (await import(`../phone/i18n/${lang}.js`)).default;
    assert.deepEqual(Object.keys(words).sort(), Object.keys(en).sort(), lang);
    const rules = new Intl.PluralRules(lang);
    const forms = new Set([...Array(200).keys()].slice(1).map((n) => rules.select(n)));
    for (const [key, text] of Object.entries(words)) {
      const names = (s) => [...s.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).filter((n) => n !== "n").sort().join();
      if (typeof text === "string") assert.equal(names(text), names(en[key]), `${lang} ${key}`);
      else for (const form of forms) assert.ok(form in text, `${lang} ${key} lacks the form ${form}`);
    }
  }
});
