// Everything that a page or a document wrote is put in as text: nothing here reads markup.
"use strict";

const at = (id) => document.getElementById(id);

async function asked(path, body) {
  const headers = { "content-type": "application/json" };
  if (at("key").value) headers.authorization = `Bearer ${at("key").value}`;
  const answer = await fetch(path, body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.detail || answer.statusText);
  return found;
}

function linked(place) {
  const named = place.title || place.url;
  if (!/^https?:\/\//i.test(place.url)) return document.createTextNode(named);
  const link = document.createElement("a");
  link.href = place.url;
  link.rel = "noreferrer noopener";
  link.textContent = named;
  return link;
}

// Words that stand in the other text in a run of three are left plain, the others are marked.
function marked(element, text, other) {
  const words = (s) => s.toLowerCase().match(/[\p{L}\p{N}]+/gu) || [];
  const theirs = words(other);
  const runs = new Set(theirs.slice(2).map((w, i) => `${theirs[i]} ${theirs[i + 1]} ${w}`));
  const mine = words(text);
  const common = new Array(mine.length).fill(false);
  for (let i = 0; i + 2 < mine.length; i++)
    if (runs.has(`${mine[i]} ${mine[i + 1]} ${mine[i + 2]}`)) common[i] = common[i + 1] = common[i + 2] = true;
  element.replaceChildren();
  let n = 0;
  for (const part of text.split(/([\p{L}\p{N}]+)/u)) {
    const isWord = /^[\p{L}\p{N}]+$/u.test(part);
    if (isWord && !common[n++]) {
      const mark = document.createElement("mark");
      mark.textContent = part;
      element.append(mark);
    } else element.append(part);
  }
}

function percent(share) {
  return `${(100 * share).toFixed(1)}%`;
}

async function show(text) {
  const { results: [found], snapshot } = await asked("v1/contains", { text });
  at("verdict").textContent = found.is_in ? "It is in." : "It is not in.";
  const scores = found.containment === null ? "" : ` ${percent(found.containment)} of its word 3-grams stand there.`;
  const speaks = found.against.length ? ` Against it: ${found.against.join(", ")}.` : "";
  const rule = found.is_in ? `Level ${found.level}, rule ${found.rule}, by corpus ${snapshot}.` : `By corpus ${snapshot}.`;
  at("reason").textContent = rule + scores + speaks;
  at("sides").hidden = !found.witness;
  if (found.witness) {
    const { document: witness } = await asked(`v1/documents/${found.witness.doc_id}?include=removed`);
    at("witness").replaceChildren(linked(found.witness));
    marked(at("mine"), text, witness.text);
    marked(at("theirs"), witness.text, text);
  }
  const { results: [near] } = await asked("v1/similar", { text, k: 10 });
  at("nearest").hidden = !near.length;
  at("found").replaceChildren(...near.map((each) => {
    const item = document.createElement("li");
    item.append(linked(each), ` ${each.cosine.toFixed(3)}`);
    return item;
  }));
  at("verdict").focus();
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  at("state").textContent = "asking";
  show(at("text").value).then(
    () => { at("state").textContent = "answered"; },
    (error) => { at("state").textContent = error.message; },
  );
});

fetch("readyz").then((answer) => answer.json()).then((found) => {
  at("state").textContent = found.status === "ready"
    ? `ready: corpus ${found.snapshot}, ${found.documents} documents` : found.detail;
});
