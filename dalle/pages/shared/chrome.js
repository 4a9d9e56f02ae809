/** What is around every page: light and dark, the list of keys, and keys that do something. */
element("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const now = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
});
const showKeys = () => element("keys").showModal();
element("help").addEventListener("click", showKeys);

/** `actionOf` says what a key does, if anything; it is not asked while somebody types or a dialog is open. */
function onKeys(actionOf) {
  document.addEventListener("keydown", (event) => {
    const elsewhere = "select, textarea, input:not([type=range], [type=radio])";
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.closest(elsewhere)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key.length > 1 && event.target.closest("input")) return; // arrows move the slider
    if (key === "Enter" && event.target.closest("button, a")) return; // and Enter presses what has the focus
    const action = actionOf(key);
    if (!action) return;
    event.preventDefault();
    action();
  });
}
