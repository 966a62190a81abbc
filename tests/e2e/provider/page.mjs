// The pages of the provider of `make up OIDC=1`. They load nothing, from here or elsewhere.
import { createHash } from 'node:crypto';

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { display: grid; place-items: center; min-height: 100vh; margin: 0; }
main { width: min(22rem, 90vw); }
label { display: block; margin: 1rem 0 0; }
input, button { box-sizing: border-box; width: 100%; padding: .5rem; font: inherit; }
button { margin-top: 1.5rem; }
[role=alert] { border-left: .25rem solid #c33; padding-left: .75rem; }
`;
const SUM = createHash('sha256').update(STYLE).digest('base64');

// What each page is sent with. No form-action: browsers apply it to where the way leads after the form too, which is the
// workspace.
export const HEADERS = {
  'Content-Type': 'text/html; charset=utf-8',
  'Cache-Control': 'no-store',
  'Content-Security-Policy': `default-src 'none'; style-src 'sha256-${SUM}'; frame-ancestors 'none'; base-uri 'none'`,
  'Referrer-Policy': 'no-referrer',
};

const escaped = (text) => text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);

const page = (title, body) => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>${STYLE}</style>
<main>
<h1>${title}</h1>
${body}
</main>
</html>
`;

// signInPage(EMAILS, WRONG): WRONG is whether the last try was.
export const signInPage = (emails, wrong) => page('Sign in', `
${wrong ? '<p role="alert">No user of this installation has this e-mail address and password.</p>' : ''}
<form method="post">
<label for="email">E-mail address</label>
<input id="email" name="email" type="email" list="people" required autofocus autocomplete="username">
<datalist id="people">${emails.map((email) => `<option value="${escaped(email)}">`).join('')}</datalist>
<label for="password">Password</label>
<input id="password" name="password" type="password" required autocomplete="current-password">
<button>Sign in</button>
</form>`);

// signOutPage(FORM): the form is the library's, and has no button yet.
export const signOutPage = (form) => page('Sign out', `
<p>Your session at this identity provider ends, and with it what was opened by it.</p>
${form}
<button form="op.logoutForm" name="logout" value="yes">Sign out</button>
<button form="op.logoutForm">Stay signed in</button>`);

export const signedOutPage = () => page('Signed out', '<p>You can close this window.</p>');

// errorPage(OUT): what the library says of a request that leads nowhere.
export const errorPage = (out) => page('This does not work', `
<p role="alert">${escaped(`${out.error}: ${out.error_description ?? ''}`)}</p>
<p>Open the workspace again.</p>`);
