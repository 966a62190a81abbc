// provider.mjs SETTINGS: the OpenID Connect provider of tests, on a free port of the loopback interface. It prints
// `issuer http://127.0.0.1:PORT` once it answers, and ends with its standard input. SETTINGS is JSON: {client, accounts}.
import http from 'node:http';
import { makeProvider } from './setup.mjs';

const server = http.createServer();
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = makeProvider(issuer, JSON.parse(process.argv[2]), {
  cookies: { keys: ['only for tests'] },
  features: { devInteractions: { enabled: true } },
});
server.on('request', provider.callback());
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
console.log(`issuer ${issuer}`);
