// An OpenID provider on this machine, with people who sign in by a click on their name.
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

export const CLIENT_ID = "tidemill";

function signingKey() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), use: "sig", alg: "RS256", kid: randomUUID() };
}

/** The page on which a person chooses who they are, or refuses. */
function choice(uid, people) {
  const button = (name, text) =>
    `<form method="post" action="/interaction/${uid}/${name}"><button>${text}</button></form>`;
  const forms = [...Object.keys(people).map((name) => button(name, `I am ${name}`)), button("-", "Refuse")];
  return `<!doctype html><html lang="en"><title>Who are you?</title><h1>Who are you?</h1>${forms.join("")}</html>`;
}

/** Signs the person in, or refuses, and goes on with the sign-in. */
async function choose(provider, incoming, reply, name) {
  const result =
    name === "-"
      ? { error: "access_denied", error_description: "the person refused" }
      : { login: { accountId: name } };
  await provider.interactionFinished(incoming, reply, result, { mergeWithLastSubmission: false });
}

/** Whoever signs in consents to everything that the client asks for. */
async function consent({ oidc }) {
  const { accountId } = oidc.session;
  const known = oidc.session.grantIdFor(oidc.client.clientId);
  const found = known === undefined ? undefined : await oidc.provider.Grant.find(known);
  if (found?.accountId === accountId) return found;
  const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId });
  grant.addOIDCScope("openid profile email groups");
  await grant.save();
  return grant;
}

/**
 * Starts a provider for the server at `serverUrl`. `people` has the claims of each account. It is at another site than
 * the server, `localhost`, as providers are.
 */
export async function startProvider(serverUrl, people) {
  const listener = createServer();
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const issuer = `http://localhost:${listener.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: CLIENT_ID,
        token_endpoint_auth_method: "none",
        redirect_uris: [`${serverUrl}/api/session/callback`],
      },
    ],
    claims: {
      openid: ["sub"],
      profile: ["name"],
      email: ["email", "email_verified"],
      groups: ["groups"],
    },
    scopes: ["openid", "profile", "email", "groups"],
    cookies: { keys: [randomUUID()] },
    jwks: { keys: [signingKey()] },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_context, { uid }) => `/interaction/${uid}` },
    ttl: { Session: 3600, Interaction: 600, Grant: 3600, AccessToken: 600, IdToken: 600 },
    findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
    loadExistingGrant: consent,
  });
  const handle = provider.callback();
  listener.on("request", (incoming, reply) => {
    const [, first, uid, name] = incoming.url.split("/");
    if (first !== "interaction") {
      handle(incoming, reply);
      return;
    }
    if (name === undefined) {
      reply.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(choice(uid, people));
      return;
    }
    choose(provider, incoming, reply, decodeURIComponent(name)).catch((error) =>
      reply.writeHead(500).end(String(error)),
    );
  });
  const close = () =>
    new Promise((resolve) => {
      listener.close(resolve);
      listener.closeAllConnections();
    });
  return { issuer, close };
}
