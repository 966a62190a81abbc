// The page on which people sign in at the provider of `make up OIDC=1`.
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
// No form-action: browsers apply it to where the way leads after the form too, which is the workspace.
const POLICY = `default-src 'none'; style-src 'sha256-${SUM}'; frame-ancestors 'none'; base-uri 'none'`;

const escaped = (text) => text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);

// signInPage(EMAILS, WRONG): WRONG is whether the last try was.
export function signInPage(emails, wrong) {
  const html = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sign in</title>
<style>${STYLE}</style>
<main>
<h1>Sign in</h1>
${wrong ? '<p role="alert">No user of this installation has this e-mail address and password.</p>' : ''}
<form method="post">
<label for="email">E-mail address</label>
<input id="email" name="email" type="email" list="people" required autofocus autocomplete="username">
<datalist id="people">${emails.map((email) => `<option value="${escaped(email)}">`).join('')}</datalist>
<label for="password">Password</label>
<input id="password" name="password" type="password" required autocomplete="current-password">
<button>Sign in</button>
</form>
</main>
</html>
`;
  return { html, policy: POLICY };
}
