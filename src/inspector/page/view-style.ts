// The style of the views that are opened after the list of calls: it comes with the first of them.

let isLoaded = false;

/** Loads it, once. It lies beside this file. */
export function loadViewStyle(): void {
  if (isLoaded) return;
  isLoaded = true;
  const link = document.createElement('link');
  link.rel = 'stylesheet';
  link.href = new URL('./views.css', import.meta.url).href;
  document.head.append(link);
}
