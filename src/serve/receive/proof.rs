//! How sending services prove that a call is theirs: signatures, a login. Keys are the operator's; nothing is fetched.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac as _};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::Value;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// A call of Mailgun that is older is no longer believed; its own retries go on for eight hours.
const OLDEST: Duration = Duration::from_hours(12);
/// What stands before the point of a P-256 key in its DER form (RFC 5480).
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NotAProof {
    /// A file cannot be read.
    #[error("cannot read the certificate `{}`: {reason}", path.display())]
    Certificate {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// SendGrid shows it in its settings.
    #[error("the key of SendGrid is no P-256 key in base64: copy it as SendGrid shows it")]
    SendGrid,
    /// A login has a name and a password.
    #[error("the login of Postmark is not `NAME:PASSWORD`")]
    Postmark,
}

/// What calls are checked against; a service without one is not answered.
#[derive(Default)]
pub struct Proofs {
    pub(super) ses: Option<Sns>,
    pub(super) sendgrid: Option<SendGrid>,
    pub(super) mailgun: Option<Mailgun>,
    pub(super) postmark: Option<Postmark>,
}

impl Proofs {
    /// Takes calls of SNS that are signed by one of these certificates, of these topics if any is named.
    ///
    /// # Errors
    /// A certificate cannot be read.
    pub fn ses(mut self, certificates: &[PathBuf], topics: Vec<String>) -> Result<Self, NotAProof> {
        let keys = certificates
            .iter()
            .map(|path| rsa_key(path))
            .collect::<Result<_, _>>()?;
        self.ses = Some(Sns { keys, topics });
        Ok(self)
    }

    /// Takes calls of SendGrid that are signed with this key.
    ///
    /// # Errors
    /// It is none.
    pub fn sendgrid(mut self, key: &str) -> Result<Self, NotAProof> {
        let der = BASE64_STANDARD.decode(key.trim()).map_err(|_| NotAProof::SendGrid)?;
        let point = der.strip_prefix(P256.as_slice()).filter(|point| point.len() == 65);
        let point = point.ok_or(NotAProof::SendGrid)?.to_vec();
        self.sendgrid = Some(SendGrid { point });
        Ok(self)
    }

    /// Takes calls of Mailgun that are signed with this key.
    #[must_use]
    pub fn mailgun(mut self, key: &str) -> Self {
        self.mailgun = Some(Mailgun { key: key.trim().into() });
        self
    }

    /// Takes calls of Postmark with this login.
    ///
    /// # Errors
    /// It is none.
    pub fn postmark(mut self, login: &str) -> Result<Self, NotAProof> {
        if !login.contains(':') || login.len() < 12 {
            return Err(NotAProof::Postmark);
        }
        let expected = format!("Basic {}", BASE64_STANDARD.encode(login));
        self.postmark = Some(Postmark {
            expected: expected.into(),
        });
        Ok(self)
    }
}

/// Hides every key.
impl std::fmt::Debug for Proofs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Proofs").finish_non_exhaustive()
    }
}

/// The public key of the first certificate in a PEM file.
fn rsa_key(path: &Path) -> Result<Vec<u8>, NotAProof> {
    let wrong = |reason: String| NotAProof::Certificate {
        path: path.to_owned(),
        reason,
    };
    let certificate = CertificateDer::from_pem_file(path).map_err(|error| wrong(error.to_string()))?;
    let certificate = webpki::EndEntityCert::try_from(&certificate).map_err(|error| wrong(error.to_string()))?;
    let info = certificate.subject_public_key_info();
    let key = bit_string(&info).ok_or_else(|| wrong("it holds no key that can be read".into()))?;
    Ok(key.to_vec())
}

/// The key inside of its DER form: `SEQUENCE { SEQUENCE { algorithm }, BIT STRING key }` (RFC 5280 section 4.1).
fn bit_string(info: &[u8]) -> Option<&[u8]> {
    let (inside, _) = element(0x30, info)?;
    let (_, rest) = element(0x30, inside)?;
    let (bits, _) = element(0x03, rest)?;
    // The number of unused bits at the end is none.
    bits.strip_prefix(&[0])
}

/// The content of the element with this tag at the start, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = der.strip_prefix(&[tag])?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81 => rest.split_first().map(|(one, rest)| (usize::from(*one), rest))?,
        0x82 => {
            let (two, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*two)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// Messages of SNS.
pub(super) struct Sns {
    keys: Vec<Vec<u8>>,
    topics: Vec<String>,
}

/// A message of SNS that is genuine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Checked<'a> {
    /// The address that confirms a subscription.
    pub(super) confirm: Option<&'a str>,
}

impl Sns {
    pub(super) fn check<'a>(&self, message: &'a Value) -> Result<Checked<'a>, &'static str> {
        let get = |name: &str| message.get(name).and_then(Value::as_str);
        let kind = get("Type").ok_or("This is no message of SNS.")?;
        let confirming = match kind {
            "Notification" => false,
            "SubscriptionConfirmation" | "UnsubscribeConfirmation" => true,
            _ => return Err("This is no message of SNS."),
        };
        // Nothing is fetched; a certificate that is said to be elsewhere is not Amazon's.
        if !get("SigningCertURL").is_some_and(is_amazons) {
            return Err("The certificate is not Amazon's.");
        }
        let algorithm: &dyn ring::signature::VerificationAlgorithm = match get("SignatureVersion") {
            Some("1") => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            Some("2") => &RSA_PKCS1_2048_8192_SHA256,
            Some(_) | None => return Err("The version of the signature is not known."),
        };
        let signature = get("Signature").and_then(|signature| BASE64_STANDARD.decode(signature).ok());
        let signature = signature.ok_or("There is no signature.")?;
        let names: &[&str] = if confirming {
            &[
                "Message",
                "MessageId",
                "SubscribeURL",
                "Timestamp",
                "Token",
                "TopicArn",
                "Type",
            ]
        } else {
            &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
        };
        let mut signed = String::new();
        for name in names {
            if let Some(value) = get(name) {
                for part in [name, value] {
                    signed.push_str(part);
                    signed.push('\n');
                }
            }
        }
        let verifies = |key: &Vec<u8>| {
            UnparsedPublicKey::new(algorithm, key)
                .verify(signed.as_bytes(), &signature)
                .is_ok()
        };
        if !self.keys.iter().any(verifies) {
            return Err("The signature is wrong.");
        }
        let topic = get("TopicArn").unwrap_or_default();
        if !self.topics.is_empty() && !self.topics.iter().any(|known| known == topic) {
            return Err("The topic is not one of those that are expected.");
        }
        let confirm = get("SubscribeURL").filter(|_| confirming);
        if confirm.is_some_and(|address| !is_amazons(address)) {
            return Err("The address to confirm at is not Amazon's.");
        }
        Ok(Checked { confirm })
    }
}

/// `https://sns.REGION.amazonaws.com/`, in China with `.cn`.
fn is_amazons(address: &str) -> bool {
    let Ok(url) = url::Url::parse(address) else {
        return false;
    };
    let plain =
        url.scheme() == "https" && url.port().is_none() && url.username().is_empty() && url.password().is_none();
    let host = url.host_str().unwrap_or_default();
    let region = host.strip_prefix("sns.").and_then(|rest| {
        rest.strip_suffix(".amazonaws.com")
            .or_else(|| rest.strip_suffix(".amazonaws.com.cn"))
    });
    let named =
        |region: &str| !region.is_empty() && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    plain && region.is_some_and(named)
}

/// SendGrid's event webhook.
pub(super) struct SendGrid {
    /// The public key.
    point: Vec<u8>,
}

impl SendGrid {
    pub(super) fn check(&self, (timestamp, signature): (&str, &str), body: &[u8]) -> Result<(), &'static str> {
        let signature = BASE64_STANDARD
            .decode(signature)
            .map_err(|_| "There is no signature.")?;
        let signed = [timestamp.as_bytes(), body].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point)
            .verify(&signed, &signature)
            .map_err(|_| "The signature is wrong.")
    }
}

/// Mailgun's webhooks.
pub(super) struct Mailgun {
    key: Box<str>,
}

impl Mailgun {
    /// The token of a call that is genuine and not too old; the signature covers nothing else, so a token is of one call only.
    pub(super) fn check<'a>(&self, call: &'a Value, now: SystemTime) -> Result<&'a str, &'static str> {
        let get = |name: &str| call.get("signature")?.get(name);
        let missing = "There is no signature.";
        let token = get("token")
            .and_then(Value::as_str)
            .filter(|token| token.len() <= 200)
            .ok_or(missing)?;
        let timestamp = match get("timestamp") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return Err(missing),
        };
        let signature = get("signature").and_then(Value::as_str).ok_or(missing)?;
        // A key of any length will do.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_bytes()).map_err(|_| missing)?;
        mac.update(timestamp.as_bytes());
        mac.update(token.as_bytes());
        let expected = mac.finalize().into_bytes();
        let mut shown = String::with_capacity(64);
        for byte in expected {
            for digit in [byte >> 4, byte & 15] {
                shown.extend(char::from_digit(digit.into(), 16));
            }
        }
        if !bool::from(shown.as_bytes().ct_eq(signature.to_ascii_lowercase().as_bytes())) {
            return Err("The signature is wrong.");
        }
        let at = timestamp
            .parse()
            .ok()
            .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
        let at = at.ok_or("The time cannot be read.")?;
        let differ = now.duration_since(at).unwrap_or_else(|ahead| ahead.duration());
        if differ > OLDEST {
            return Err("The call is too old.");
        }
        Ok(token)
    }
}

/// Postmark's webhooks.
pub(super) struct Postmark {
    expected: Box<str>,
}

impl Postmark {
    pub(super) fn check(&self, authorization: &str) -> Result<(), &'static str> {
        if bool::from(self.expected.as_bytes().ct_eq(authorization.as_bytes())) {
            Ok(())
        } else {
            Err("The login is wrong.")
        }
    }
}

#[cfg(test)]
mod tests {
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
    };
    use serde_json::json;

    use super::*;

    #[test]
    fn only_amazons_own_hosts_are_amazons() {
        for (address, expected) in [
            (
                "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-abc.pem",
                true,
            ),
            ("https://sns.cn-north-1.amazonaws.com.cn/a.pem", true),
            ("http://sns.eu-west-1.amazonaws.com/a.pem", false),
            ("https://sns.eu-west-1.amazonaws.com.evil.example/a.pem", false),
            ("https://evil.example/sns.eu-west-1.amazonaws.com/a.pem", false),
            ("https://sns.eu-west-1.amazonaws.com@evil.example/a.pem", false),
            ("https://user@sns.eu-west-1.amazonaws.com/a.pem", false),
            ("https://sns.eu-west-1.amazonaws.com:8443/a.pem", false),
            ("https://sns.evil.example.amazonaws.com/a.pem", false),
            ("https://s3.amazonaws.com/a.pem", false),
            ("https://sns..amazonaws.com/a.pem", false),
            ("", false),
        ] {
            assert_eq!(is_amazons(address), expected, "{address}");
        }
    }

    #[test]
    fn der_is_read_within_its_length() {
        let info = [0x30, 0x09, 0x30, 0x02, 0x05, 0x00, 0x03, 0x03, 0x00, 0xab, 0xcd];
        assert_eq!(bit_string(&info), Some(&[0xab, 0xcd][..]));
        for cut in 0..info.len() {
            assert_eq!(bit_string(&info[..cut]), None, "{cut}");
        }
        assert_eq!(element(0x30, &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn sns_signs_the_message_by_a_certificate_that_is_pinned() {
        let corpus = Path::new("tests/corpora/receive");
        let messages: Value = serde_json::from_slice(&std::fs::read(corpus.join("sns.json")).unwrap()).unwrap();
        let certificates = [corpus.join("sns.pem")];
        let topic = "arn:aws:sns:eu-west-1:123456789012:bounces".to_owned();
        let proof = |topics| Proofs::default().ses(&certificates, topics).unwrap().ses.unwrap();
        let any = proof(Vec::new());
        for version in ["v1", "v2"] {
            assert_eq!(
                any.check(&messages[version]),
                Ok(Checked { confirm: None }),
                "{version}"
            );
            assert!(proof(vec![topic.clone()]).check(&messages[version]).is_ok());
            assert!(
                proof(vec!["arn:aws:sns:other".into()])
                    .check(&messages[version])
                    .is_err()
            );
            for (member, forged) in [
                ("Message", "{}"),
                ("TopicArn", "arn:aws:sns:other"),
                ("Timestamp", "2026-11-21T10:00:01.000Z"),
                ("SignatureVersion", "3"),
                ("Signature", "AAAA"),
                ("Type", "Other"),
                ("SigningCertURL", "https://evil.example/cert.pem"),
            ] {
                let mut message = messages[version].clone();
                message[member] = forged.into();
                assert!(any.check(&message).is_err(), "{version} {member}");
            }
        }
        let confirm = any.check(&messages["confirm"]).unwrap().confirm.unwrap();
        assert!(confirm.starts_with("https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription"));
        assert!(
            any.check(&messages["evil"]).is_err(),
            "signed, and elsewhere all the same"
        );
        let nothing = Proofs::default().ses(&["tests/corpora/receive/none.pem".into()], Vec::new());
        assert!(nothing.unwrap_err().to_string().contains("none.pem"));
    }

    #[test]
    fn sendgrid_signs_time_and_body() {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pair.as_ref(), &random).unwrap();
        let key = BASE64_STANDARD.encode([&P256[..], pair.public_key().as_ref()].concat());
        let proofs = Proofs::default().sendgrid(&key).unwrap();
        let proof = proofs.sendgrid.unwrap();
        let signature = pair.sign(&random, b"1700000000[{\"event\":\"bounce\"}]").unwrap();
        let signature = BASE64_STANDARD.encode(signature);
        let check = |time: &str, body: &[u8]| proof.check((time, &signature), body).is_ok();
        assert!(check("1700000000", b"[{\"event\":\"bounce\"}]"));
        assert!(!check("1700000001", b"[{\"event\":\"bounce\"}]"));
        assert!(!check("1700000000", b"[{\"event\":\"open\"}]"));
        assert!(proof.check(("1700000000", ""), b"[]").is_err());
        for wrong in ["", "abc", &BASE64_STANDARD.encode([0; 91])] {
            assert!(Proofs::default().sendgrid(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn mailgun_signs_time_and_token() {
        let proof = Proofs::default().mailgun("key-123").mailgun.unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(b"key-123").unwrap();
        mac.update(b"1700000000tok");
        let signature = mac
            .finalize()
            .into_bytes()
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let call =
            |time: &str, token: &str| json!({"signature": {"timestamp": time, "token": token, "signature": signature}});
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_101);
        assert_eq!(proof.check(&call("1700000000", "tok"), now), Ok("tok"));
        for wrong in [
            call("1700000001", "tok"),
            call("1700000000", "other"),
            json!({}),
            json!({"signature": 1}),
        ] {
            assert!(proof.check(&wrong, now).is_err(), "{wrong}");
        }
        for late in [OLDEST + Duration::from_secs(1), Duration::from_hours(9999)] {
            assert!(proof.check(&call("1700000000", "tok"), now + late).is_err());
        }
        let early = now - OLDEST - Duration::from_secs(200);
        assert!(proof.check(&call("1700000000", "tok"), early).is_err());
    }

    #[test]
    fn postmark_shows_its_login() {
        let proof = Proofs::default()
            .postmark("hook:long-password")
            .unwrap()
            .postmark
            .unwrap();
        let shown = format!("Basic {}", BASE64_STANDARD.encode("hook:long-password"));
        assert!(proof.check(&shown).is_ok());
        for wrong in ["", "Basic ", &shown[..20], "Bearer abc"] {
            assert!(proof.check(wrong).is_err(), "{wrong}");
        }
        assert!(
            Proofs::default().postmark("short:x").is_err() && Proofs::default().postmark("no-colon-in-it").is_err()
        );
    }
}
