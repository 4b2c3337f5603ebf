//! Signatures of ID tokens (RFC 7515), verified with the keys that the provider publishes (RFC 7517).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::Value;

/// Maximum length of a token in bytes.
const MAX_TOKEN_LEN: usize = 64 << 10;
/// Maximum number of keys of a provider.
const MAX_KEYS: usize = 100;
/// What marks a point with both coordinates.
const UNCOMPRESSED: u8 = 4;

/// A token is not signed as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It is no signed token.
    #[error("it is not a signed token (JWS)")]
    Form,
    /// Another algorithm, such as `none`, or one with a shared secret.
    #[error("it is signed with the algorithm `{0}`, which is not accepted")]
    Algorithm(String),
    /// The provider publishes no such key.
    #[error("the provider publishes no key that fits it")]
    UnknownKey,
    /// The signature does not match.
    #[error("its signature does not match")]
    Signature,
}

/// A public key of a provider, as it is published. Fields that do not apply are absent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PublishedKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys of a provider. A key of an unknown form does not make the others unreadable.
#[derive(Debug, Deserialize)]
struct PublishedKeys {
    keys: Vec<Value>,
}

/// Reads the document with the keys of a provider.
pub fn read_keys(document: &[u8]) -> Result<Vec<PublishedKey>, serde_json::Error> {
    let published: PublishedKeys = serde_json::from_slice(document)?;
    let keys = published.keys.into_iter().take(MAX_KEYS);
    Ok(keys.filter_map(|key| serde_json::from_value(key).ok()).collect())
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// How a signature is verified.
enum Algorithm {
    Rsa(&'static RsaParameters),
    /// With the curve, and the length of a coordinate.
    Point(&'static dyn VerificationAlgorithm, &'static str, usize),
    Edwards,
}

impl Algorithm {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            "RS384" => Self::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            "RS512" => Self::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            "PS256" => Self::Rsa(&RSA_PSS_2048_8192_SHA256),
            "PS384" => Self::Rsa(&RSA_PSS_2048_8192_SHA384),
            "PS512" => Self::Rsa(&RSA_PSS_2048_8192_SHA512),
            "ES256" => Self::Point(&ECDSA_P256_SHA256_FIXED, "P-256", 32),
            "ES384" => Self::Point(&ECDSA_P384_SHA384_FIXED, "P-384", 48),
            "EdDSA" | "Ed25519" => Self::Edwards,
            _ => return None,
        })
    }

    /// Whether a key is of the type that the algorithm needs.
    fn fits(&self, key: &PublishedKey) -> bool {
        match self {
            Self::Rsa(_) => key.kty == "RSA",
            Self::Point(_, curve, _) => key.kty == "EC" && key.crv.as_deref() == Some(curve),
            Self::Edwards => key.kty == "OKP" && key.crv.as_deref() == Some("Ed25519"),
        }
    }

    fn verify(&self, key: &PublishedKey, message: &[u8], signature: &[u8]) -> bool {
        let bytes =
            |field: &Option<String>| URL_SAFE_NO_PAD.decode(field.as_deref().unwrap_or_default()).ok();
        match self {
            Self::Rsa(parameters) => bytes(&key.n).zip(bytes(&key.e)).is_some_and(|(n, e)| {
                let n: &[u8] = &n[n.iter().take_while(|byte| **byte == 0).count()..];
                RsaPublicKeyComponents { n, e: &e }.verify(parameters, message, signature).is_ok()
            }),
            Self::Point(algorithm, _, length) => bytes(&key.x).zip(bytes(&key.y)).is_some_and(|(x, y)| {
                let point = [&[UNCOMPRESSED][..], &x, &y].concat();
                x.len() == *length
                    && y.len() == *length
                    && UnparsedPublicKey::new(*algorithm, point).verify(message, signature).is_ok()
            }),
            Self::Edwards => bytes(&key.x)
                .is_some_and(|x| UnparsedPublicKey::new(&ED25519, x).verify(message, signature).is_ok()),
        }
    }
}

/// Returns the claims of a token that one of the keys signed.
pub fn verified_claims(token: &str, keys: &[PublishedKey]) -> Result<Value, SignatureError> {
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| SignatureError::Form);
    if token.len() > MAX_TOKEN_LEN {
        return Err(SignatureError::Form);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(SignatureError::Form)?;
    let (head, claims) = message.split_once('.').ok_or(SignatureError::Form)?;
    let header: Header = serde_json::from_slice(&decoded(head)?).map_err(|_| SignatureError::Form)?;
    let Some(algorithm) = Algorithm::named(&header.alg).filter(|_| header.crit.is_none()) else {
        return Err(SignatureError::Algorithm(header.alg.chars().take(20).collect()));
    };
    let signature = decoded(signature)?;
    let fitting: Vec<&PublishedKey> = keys
        .iter()
        .filter(|key| algorithm.fits(key))
        .filter(|key| header.kid.is_none() || key.kid == header.kid)
        .filter(|key| key.alg.as_ref().is_none_or(|alg| *alg == header.alg))
        .filter(|key| key.purpose.as_ref().is_none_or(|purpose| purpose == "sig"))
        .collect();
    if fitting.is_empty() {
        return Err(SignatureError::UnknownKey);
    }
    if !fitting.iter().any(|key| algorithm.verify(key, message.as_bytes(), &signature)) {
        return Err(SignatureError::Signature);
    }
    serde_json::from_slice(&decoded(claims)?).map_err(|_| SignatureError::Form)
}
