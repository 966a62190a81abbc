// provider.mjs SETTINGS: the OpenID Connect provider of tests, on a free port of the loopback interface. It prints
// `issuer http://127.0.0.1:PORT` once it answers, and ends with its standard input. SETTINGS is JSON: {client, accounts}.
import http from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// Standard output is for the one line: whoever reads that reads no more.
console.info = console.error;

// NODE_PATH names where the packages are; only require looks there.
const require = createRequire(import.meta.url);
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')).href);

const { client, accounts } = JSON.parse(process.argv[2]);
const server = http.createServer();
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [client],
  claims: {
    openid: ['sub'],
    email: ['email', 'email_verified'],
    groups: ['groups'],
  },
  scopes: ['openid', 'email', 'profile', 'groups'],
  cookies: { keys: ['only for tests'] },
  features: {
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    devInteractions: { enabled: true },
  },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, ...accounts[id] }),
  }),
  // It would call no address of this machine, and the proxy's back channel is one.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  // Nobody is asked for a consent.
  loadExistingGrant: async (context) => {
    const { oidc } = context;
    const grant = new provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
    grant.addOIDCScope('openid email profile groups');
    await grant.save();
    return grant;
  },
});
for (const event of ['server_error', 'grant.error', 'authorization.error', 'backchannel.error']) {
  provider.on(event, (...all) => console.error(event, all.find((one) => one instanceof Error)));
}
server.on('request', provider.callback());
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
console.log(`issuer ${issuer}`);
