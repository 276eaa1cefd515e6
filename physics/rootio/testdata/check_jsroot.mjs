// Compares a written file with its input, branch by branch, with JSROOT: number of values, their sum, and a hash of them in order.
//
// usage: node check_jsroot.mjs IN.root OUT.root TREE [--lost NAME,NAME] [--added NAME,NAME] [--friend]
//
// What JSROOT prints (a missing streamer, a mismatch) is a failure. Branches that JSROOT can't read in the input (RVec, Float16_t,
// Double32_t) are left out and counted. Needs the npm package jsroot 7.11.2, installed with
// --ignore-scripts in a folder above this file: Node looks for it from here, so copy the script to where it was installed.
import { openFile, TSelector, treeProcess, version } from 'jsroot';

const options = {}, args = [];
for (let i = 2; i < process.argv.length; i++) {
  const a = process.argv[i];
  if (a === '--friend') options.friend = true;
  else if (a.startsWith('--')) options[a.slice(2)] = process.argv[++i].split(',').filter(x => x);
  else args.push(a);
}
const [input, output, tree] = args;
const said = [];
for (const f of ['log', 'warn', 'error', 'info']) {
  const old = console[f].bind(console);
  console[f] = (...a) => (options.mine ? old(...a) : said.push(a.join(' ')));
}
const say = s => { options.mine = true; console.log(s); options.mine = false; };

const f64 = new Float64Array(1), u32 = new Uint32Array(f64.buffer);
class Sum {
  constructor() { this.n = 0; this.sum = 0; this.hash = 2166136261; }
  number(x) {
    this.n++;
    if (Number.isFinite(x)) this.sum += x;
    f64[0] = x;
    this.hash = Math.imul(this.hash ^ u32[0], 16777619);
    this.hash = Math.imul(this.hash ^ u32[1], 16777619);
  }
  text(s) { for (let i = 0; i < s.length; i++) this.number(s.charCodeAt(i)); this.number(-1); }
  add(v) {
    if (v === null || v === undefined) return;
    if (typeof v === 'number') this.number(v);
    else if (typeof v === 'bigint') { this.number(Number(v & 0xffffffffn)); this.number(Number(v >> 32n)); }
    else if (typeof v === 'boolean') this.number(v ? 1 : 0);
    else if (typeof v === 'string') this.text(v);
    else if (v.length !== undefined) { for (let i = 0; i < v.length; i++) this.add(v[i]); this.hash = Math.imul(this.hash ^ 77, 16777619); }
    else for (const k of Object.keys(v)) this.add(v[k]);
  }
}

async function sums(t, names) {
  let entries = 0;
  const out = new Map(), sel = new TSelector();
  for (const n of names) { sel.addBranch(n, n); out.set(n, new Sum()); }
  sel.Process = function () { entries++; for (const n of names) out.get(n).add(this.tgtobj[n]); };
  await treeProcess(t, sel);
  if (entries !== t.fEntries) throw Error(`JSROOT stopped after ${entries} of ${t.fEntries} entries`);
  return out;
}

// Reads all branches at once, or, where one of them makes that fail, one by one.
async function read(t, names) {
  try {
    const before = said.length, out = await sums(t, names);
    if (said.length === before) return out;
    said.length = before;
  } catch { /* one by one */ }
  const out = new Map();
  for (const n of names) {
    const before = said.length;
    try {
      const s = await sums(t, [n]);
      if (said.length === before) out.set(n, s.get(n));
    } catch { /* it stays out */ }
    said.length = before;
  }
  return out;
}

const fa = await openFile(input), ta = await fa.readObject(tree);
const fromInput = ta.fEntries ? await read(ta, ta.fBranches.arr.map(b => b.fName)) : new Map();
said.length = 0;

const fb = await openFile(output), tb = await fb.readObject(tree);
const have = tb.fBranches.arr.map(b => b.fName);
const bad = [];
let got = new Map();
if (tb.fEntries) try { got = await sums(tb, have); } catch (e) { bad.push(`${output}: ${e}`); }
for (const s of said) bad.push(`${output}: JSROOT says: ${s}`);
if (ta.fEntries !== tb.fEntries) bad.push(`${tb.fEntries} entries, not ${ta.fEntries}`);
let same = 0, skipped = 0;
for (const b of ta.fBranches.arr) {
  const n = b.fName;
  if (!have.includes(n)) { if (!options.friend && !(options.lost ?? []).includes(n)) bad.push(`${n}: not there`); continue; }
  if (!ta.fEntries) { same++; continue; }
  const a = fromInput.get(n), c = got.get(n);
  if (!a || /RVec/.test(b.fClassName)) { skipped++; continue; } // JSROOT reads RVec as nothing, or wrong
  if (!c || a.n !== c.n || a.sum !== c.sum && !(Number.isNaN(a.sum) && Number.isNaN(c.sum)) || a.hash !== c.hash)
    bad.push(`${n}: ${c?.n} values with sum ${c?.sum}, not ${a.n} with ${a.sum}`);
  else same++;
}
for (const n of options.added ?? []) if (!have.includes(n)) bad.push(`${n}: was not added`);
for (const b of bad.slice(0, 50)) say(b);
say(`JSROOT ${version}: ${same} branches equal, ${bad.length} wrong, ${skipped} that JSROOT can't read in the input`);
process.exit(bad.length ? 1 : 0);
