// The pages at the two ends of a login: what came of it, and the one that reads a token from the address's fragment for
// the implicit grant.

import { html, type Page, renderPage } from './page.ts';

/**
 * A login that worked. `who` is who it was, in words, where that is known; `statusHref` leads to the status page, where
 * there is one.
 */
export function renderLoginDone(name: string, who: string | null, statusHref: string | null): Page {
  const body = html`<h1 class="good">You are logged in${who !== null && ` as ${who}`}</h1>
<p>Credential <strong>${name}</strong> holds a token now, and keeps it fresh. Calls that waited for it go on.</p>
<p>You can close this window.${statusHref !== null && html` <a href="${statusHref}">Status of the gateway</a>`}</p>`;
  return renderPage({ title: 'Logged in', body, isNarrow: true });
}

/** A login that did not work, in the words of whoever refused it. `message` is any text. */
export function renderLoginFailed(message: string, statusHref: string | null): Page {
  const body = html`<h1 class="bad">The login did not work</h1>
<p role="alert">${message}.</p>
<p>Nothing was changed.${
    statusHref !== null && html` The <a href="${statusHref}">status page</a> has a link to start again.`
  }</p>`;
  return renderPage({ title: 'Login failed', body, isNarrow: true });
}

/** A login that cannot come back here. `redirectUri` is what is configured. */
export function renderLoginElsewhere(name: string, redirectUri: string): Page {
  const body = html`<h1>This login does not end here</h1>
<p>After the login, Genesys Cloud sends the browser to <code>${redirectUri}</code>, as <code>redirect_uri</code> says,
and that is not a page of this gateway.</p>
<p>Run <code>gcg login ${name} --paste</code>, log in by the address it prints, and paste the address the browser ends
at.</p>`;
  return renderPage({ title: 'Log in', body, isNarrow: true });
}

/**
 * Takes the fragment out of the address bar before anything else, and sends it to this gateway alone. Texts are set as
 * text.
 */
const FRAGMENT_SCRIPT = `(async()=>{
const say=(heading,text)=>{
document.querySelector('h1').textContent=heading;
document.querySelector('#outcome').textContent=text};
const fragment=location.hash.slice(1);
history.replaceState(null,'',location.pathname);
if(!fragment){
say('Nothing arrived','The login page sent neither a code, nor a token, nor an error. Start the login again.');
return}
try{
const answer=await fetch(location.pathname,{method:'POST',body:fragment,
headers:{'Content-Type':'application/x-www-form-urlencoded','X-Gateway-Request':'1'}});
const outcome=await answer.json();
if(answer.ok)
say('You are logged in','Credential '+outcome.credential+' holds a token now. You can close this window.');
else say('The login did not work',outcome.message+'.');
}catch{say('The login did not work','The gateway did not answer. Is it still running?')}
})()`;

/** For the implicit grant, whose token comes in the fragment, which browsers do not send. */
export function renderFragmentPage(statusHref: string | null): Page {
  const body = html`<h1>Finishing the login</h1>
<p id="outcome" role="status">One moment.</p>
<noscript><p class="bad">The implicit grant brings its token in a part of the address that only a script can read.
Allow scripts for this page, or use the grant <code>pkce</code>, which needs none.</p></noscript>
${statusHref !== null && html`<p><a href="${statusHref}">Status of the gateway</a></p>`}`;
  return renderPage({ title: 'Login', body, isNarrow: true, script: FRAGMENT_SCRIPT });
}
