// The shop floor: a till, a vending machine, and a phone with a card reader side by
// side. Each talks to the gateway as the real one would; they know of each other only
// what their owners see.
import { make } from "./api.js";
import { Machine } from "./machine.js";
import { Reader } from "./reader.js";
import { Till } from "./till.js";

const $ = (id) => document.getElementById(id);

// hold shows a payment's address to the phone's camera.
function hold(url) {
  const { pathname, hash } = new URL(url, location.href);
  const { search } = $("phone").contentWindow.location; // it says which reader hangs on the phone
  $("phone").contentWindow.location.assign((pathname.endsWith("/") ? pathname : pathname + "/") + search + hash);
  seek();
}

// seek brings the phone into sight.
const seek = () => $("phone").scrollIntoView({ block: "nearest" });

// typeIn types for the customer, where the phone asks for it.
function typeIn({ id, password }) {
  const ask = (name) => $("phone").contentDocument.getElementById(name);
  if (ask("customer")) ask("customer").value = id;
  if (ask("password")) ask("password").value = password;
  seek();
}

const floor = await (await fetch("/demo/floor.json")).json();
const [first] = floor.customers;
$("who").textContent = first.id;
$("password").textContent = first.password;
$("customer").value = first.id;
for (const c of floor.customers) {
  const row = $("people").insertRow();
  row.insertCell().textContent = c.name.includes(c.id) ? c.id : `${c.id} ${c.name}`;
  row.insertCell().textContent = c.password;
  row.insertCell().textContent = c.currency;
  row.insertCell().append(make("button", { type: "button", onclick: () => typeIn(c), ariaLabel: `Type in number and password of ${c.id}` }, "Type in"));
}
$("rates").textContent = floor.rates_of;
new Till(floor.shops.find((s) => !s.vending), hold, floor);
new Machine(floor.shops.find((s) => s.vending), hold);
if (floor.reader) {
  $("reader").hidden = $("how-reader").hidden = false;
  new Reader(floor.reader);
}
document.documentElement.dataset.ready = "yes";
