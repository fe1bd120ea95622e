// The service worker: opens pages that this device has opened before, whether their server can be reached or not.
// The server writes `build`, `pages`, `shell` and `files` in front of this. A worker keeps the files of its own build and serves
// no others, so what it opens is of one build; see shell.rs.

const kept = `keybook ${build}`;

/**
 * If the server has not begun to answer by then, in milliseconds, the shell is opened in place of its document: it shows the same, from
 * the device, and follows once the server answers. This is longer than a slow line takes, and shorter than people wait.
 */
const answerMsMax = 4000;

/** Whether the shell can show what has this path: the main dictionary, or one by its name. */
const isPage = (path) => path === "/" || (path.startsWith(pages) && /^[a-z0-9][a-z0-9._-]{0,63}$/.test(path.slice(pages.length)));

// All or nothing, by the browser's HTTP cache: the page has just fetched most of it.
self.addEventListener("install", (event) => event.waitUntil(caches.open(kept).then((cache) => cache.addAll(files))));

// From now on this worker answers all tabs. One of another build has loaded its files, and asks for no more of them.
self.addEventListener("activate", (event) => event.waitUntil(Promise.all([forgetOthers(), self.clients.claim()])));

async function forgetOthers() {
  const others = (await caches.keys()).filter((name) => name !== kept);
  await Promise.all(others.map((name) => caches.delete(name)));
}

// A page says of which build it is, or that its person wants this one. To a page of this build there is nothing to ask.
self.addEventListener("message", ({ data, source }) => {
  if (data === build || data === "take over") self.skipWaiting();
  else source.postMessage("another build");
});

self.addEventListener("fetch", (event) => {
  const { method, mode, url } = event.request;
  const { origin, pathname } = new URL(url);
  if (method !== "GET" || origin !== self.location.origin) return;
  if (mode === "navigate" && isPage(pathname)) event.respondWith(openPage(event.request));
  else if (files.includes(pathname)) event.respondWith(openFile(event.request, pathname));
});

/** The server's document if it answers, for it is the newest and has the first entries; else the shell. */
async function openPage(request) {
  const slow = new Promise((resolve) => setTimeout(resolve, answerMsMax));
  const response = await Promise.race([fetch(request).catch(() => undefined), slow]);
  // 502 to 504 is a proxy's word for a server that it cannot reach.
  const isThere = response && ![502, 503, 504].includes(response.status);
  return isThere ? response : openFile(request, shell);
}

/** What is kept; a browser short of room may have dropped it, and what the next worker has forgotten stays so. */
async function openFile(request, address) {
  return (await caches.match(address, { cacheName: kept })) ?? fetch(request);
}
