//! The operator's own key: a Secret in its own namespace, made once. The passwords that it has at the stores of
//! pipelines are derived from it, so that there is none to keep for each. Lost, it is made anew, and the stores' pods
//! are restarted with the new ones.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use sha2::{Digest, Sha256};
use snafu::{OptionExt, ResultExt, Snafu};

use crate::answer::AskApi;

/// Key of the Secret's data.
const DATA: &str = "key";

/// Why there is no key.
#[derive(Debug, Snafu)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum FindKey {
    #[snafu(display("cannot read Secret '{name}'"))]
    Read { name: String, source: AskApi },
    #[snafu(display("cannot create Secret '{name}'"))]
    Create { name: String, source: AskApi },
    #[snafu(display(
        "key '{DATA}' of Secret '{name}' must have 32 bytes; delete the Secret, and the operator creates it again"
    ))]
    Parse { name: String },
}

/// The key. It is not shown.
#[derive(Clone, Eq, PartialEq)]
pub struct OperatorKey([u8; 32]);

impl fmt::Debug for OperatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorKey")
    }
}

impl OperatorKey {
    /// Makes the key of these bytes.
    pub fn of(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the password of ZooKeeper's user `super` in the ensemble of the pipeline with this UID.
    pub fn zookeeper_password(&self, uid: &str) -> String {
        let mut digest = Sha256::new();
        for part in [b"zookeeper".as_slice(), &self.0, uid.as_bytes()] {
            // Lengths keep apart what would otherwise run into each other.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        STANDARD.encode(digest.finalize())
    }

    /// Returns the digest by which a server knows that password: anyone may read it.
    pub fn zookeeper_digest(&self, uid: &str) -> String {
        digest_of(&self.zookeeper_password(uid))
    }
}

/// Returns the digest of a password of ZooKeeper's user `super`, as its `DigestAuthenticationProvider` computes it.
fn digest_of(password: &str) -> String {
    format!("super:{}", STANDARD.encode(Sha256::digest(format!("super:{password}"))))
}

/// Returns the key that a Secret holds, which is made if there is none.
///
/// # Errors
///
/// Fails if the Secret can neither be read nor made, or holds no key.
pub async fn find(client: &Client, namespace: &str, name: &str) -> Result<OperatorKey, FindKey> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(name).await.map_err(AskApi::from).context(ReadSnafu { name })?;
    let secret = match found {
        Some(secret) => secret,
        None => make(&api, name).await?,
    };
    let bytes = secret.data.unwrap_or_default().remove(DATA).and_then(|ByteString(bytes)| bytes.try_into().ok());
    bytes.map(OperatorKey).context(ParseSnafu { name })
}

/// Makes the Secret, or returns that which another operator has just made.
async fn make(api: &Api<Secret>, name: &str) -> Result<Secret, FindKey> {
    let bytes: [u8; 32] = rand::random();
    let secret = Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([(DATA.to_owned(), ByteString(bytes.to_vec()))])),
        ..Secret::default()
    };
    match api.create(&PostParams::default(), &secret).await {
        Ok(made) => Ok(made),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            api.get(name).await.map_err(AskApi::from).context(ReadSnafu { name })
        }
        Err(error) => Err(AskApi::from(error)).context(CreateSnafu { name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `printf super:secretpw | openssl dgst -sha256 -binary | base64` prints it; a server of 3.9.5 that is given
    /// it takes the password.
    #[test]
    fn a_digest_is_the_one_that_zookeeper_computes() {
        assert_eq!(digest_of("secretpw"), "super:+c0fmP9eAYNs6lQnDQ2unIL7LJ7xYUOCqsaruHJqnTw=");
    }

    #[test]
    fn every_pipeline_has_a_password_of_its_own() {
        let key = OperatorKey::of([7; 32]);
        let password = key.zookeeper_password("one");
        assert_eq!(password.len(), 44, "it is 32 bytes");
        assert_eq!(password, key.zookeeper_password("one"));
        assert_ne!(password, key.zookeeper_password("two"));
        assert_ne!(password, OperatorKey::of([8; 32]).zookeeper_password("one"));
        assert_eq!(format!("{key:?}"), "OperatorKey");
    }
}
