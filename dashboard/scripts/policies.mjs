// Writes each page's Content-Security-Policy into the page itself, for hosts that cannot say one for each of them.
// The gateway says the same in a header (asahi_dashboard_api/export.py); `frame-ancestors` counts in a header alone.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const folder = process.argv[2] ?? "out";
const INLINE = /<script(?![^>]*\ssrc=)[^>]*>(.*?)<\/script>/gs;

function policy(page) {
  const bodies = new Set([...page.matchAll(INLINE)].map((found) => found[1]));
  const digests = [...bodies].map((body) => createHash("sha256").update(body).digest("base64")).sort();
  const scripts = digests.map((digest) => ` 'sha256-${digest}'`).join("");
  return (
    `default-src 'none'; script-src 'self'${scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; ` +
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'"
  );
}

let count = 0;
for (const name of readdirSync(folder, { recursive: true })) {
  if (!name.endsWith(".html")) continue;
  const path = join(folder, name);
  const page = readFileSync(path, "utf8");
  const head = page.indexOf("<head>");
  if (head < 0) throw new Error(`${name} has no head`);
  const meta = `<meta http-equiv="Content-Security-Policy" content="${policy(page)}"/>`;
  writeFileSync(path, page.slice(0, head + 6) + meta + page.slice(head + 6));
  count += 1;
}
if (!count) throw new Error(`there are no pages in ${folder}`);
console.log(`${count} pages have a policy`);
