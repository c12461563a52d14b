// Owns signed assertions as a server receives them (RFC 7523). They are verified with a registered public key and the
// real time.

import { constants, generateKeyPairSync, verify } from "node:crypto";

const decoded = (part) => JSON.parse(Buffer.from(part, "base64url").toString());

/** Header and claims of a JWT, or undefined if the text is not a JWT. */
export function decodeJwt(jwt) {
  try {
    const [header, claims, signature, ...rest] = jwt.split(".");
    return rest.length > 0 || !signature ? undefined : { header: decoded(header), claims: decoded(claims) };
  } catch {
    return undefined;
  }
}

/** Whether the key made an RS256 or PS256 signature. */
export function isSignedBy(jwt, publicKey) {
  const padding = { RS256: constants.RSA_PKCS1_PADDING, PS256: constants.RSA_PKCS1_PSS_PADDING }[decodeJwt(jwt)?.header.alg];
  if (!padding) return false;
  const dot = jwt.lastIndexOf(".");
  const signature = Buffer.from(jwt.slice(dot + 1), "base64url");
  const key = { key: publicKey, padding, ...(padding === constants.RSA_PKCS1_PSS_PADDING && { saltLength: constants.RSA_PSS_SALTLEN_DIGEST }) };
  return verify("sha256", Buffer.from(jwt.slice(0, dot)), key, signature);
}

/** A new RSA key pair, as PEM: `{ publicKey, privateKey }`. */
export const createKeyPair = () =>
  generateKeyPairSync("rsa", {
    modulusLength: 2048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
