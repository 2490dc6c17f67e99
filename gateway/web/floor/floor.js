// The shop floor: a till, a vending machine and a phone side by side. Each talks to
// the gateway as the real one would; they know of each other only what their owners
// see.
import { Machine } from "./machine.js";
import { Till } from "./till.js";

const $ = (id) => document.getElementById(id);

// hold shows a payment's address to the phone's camera.
function hold(url) {
  const { pathname, hash } = new URL(url, location.href);
  $("phone").contentWindow.location.assign((pathname.endsWith("/") ? pathname : pathname + "/") + hash);
}

const floor = await (await fetch("/demo/floor.json")).json();
const [first] = floor.customers;
$("who").textContent = first.id;
$("password").textContent = first.password;
$("customer").value = first.id;
for (const c of floor.customers) {
  const row = $("people").insertRow();
  row.insertCell().textContent = `${c.id} (${c.name})`;
  row.insertCell().textContent = c.password;
  row.insertCell().textContent = c.currency;
}
new Till(floor.shops.find((s) => !s.vending), hold);
new Machine(floor.shops.find((s) => s.vending), hold);
document.documentElement.dataset.ready = "yes";
