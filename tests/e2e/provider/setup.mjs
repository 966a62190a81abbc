// What the provider of tests and that of `make up OIDC=1` have in common: which accounts there are, what they say of
// themselves, and that nobody is asked for a consent.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// Standard output is for answers, and the library greets its reader there.
console.info = console.error;

// NODE_PATH names where the packages are; only require looks there.
const require = createRequire(import.meta.url);
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')).href);

// makeProvider(ISSUER, {client, accounts}, MORE): accounts are claims by subject; MORE goes into the library's configuration.
export function makeProvider(issuer, { client, accounts }, { features, ...more }) {
  const provider = new Provider(issuer, {
    clients: [client],
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      groups: ['groups'],
    },
    scopes: ['openid', 'email', 'profile', 'groups'],
    features: {
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true },
      ...features,
    },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, ...accounts[id] }),
    }),
    // By itself it calls no private address, and the proxy's back channel has one.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    loadExistingGrant: async ({ oidc }) => {
      const grant = new provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
      grant.addOIDCScope('openid email profile groups');
      await grant.save();
      return grant;
    },
    ...more,
  });
  for (const event of ['server_error', 'grant.error', 'authorization.error', 'backchannel.error']) {
    provider.on(event, (...all) => console.error(event, all.find((one) => one instanceof Error)));
  }
  return provider;
}
