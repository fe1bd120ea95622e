// Brings a document to life. The server puts `script`, `wasm` and `build` in front of this; see document.rs.
const { default: load, hydrate } = await import(script);
const workers = navigator.serviceWorker;
if (workers && build) {
  const notice = document.getElementById("new-version");
  const ask = (worker) => worker?.postMessage(build);
  const follow = (registration) => {
    const { installing, waiting } = registration;
    if (installing) installing.onstatechange = () => follow(registration);
    else ask(waiting);
  };
  const register = async () => {
    const registration = await workers.register("/worker.js");
    registration.onupdatefound = () => follow(registration);
    if (registration.active) await registration.update();
    follow(registration);
  };
  document.addEventListener("keybook-connected", () => register().catch(console.warn));
  workers.onmessage = () => (notice.hidden = false);
  workers.oncontrollerchange = () => ask(workers.controller);
  notice.querySelector("button").onclick = async () => {
    const waiting = (await workers.getRegistration())?.waiting;
    if (!waiting) return location.reload();
    workers.oncontrollerchange = () => location.reload();
    waiting.postMessage("take over");
  };
} else if (workers) {
  for (const registration of await workers.getRegistrations()) registration.unregister();
}
await load({ module_or_path: wasm });
hydrate();
