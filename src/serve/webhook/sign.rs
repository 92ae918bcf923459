//! Secrets and signatures, as Standard Webhooks has them: HMAC-SHA256 over id, time and body.

use base64::{
    Engine as _,
    alphabet::STANDARD as ALPHABET,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

const PREFIX: &str = "whsec_";
/// Shortest and longest secret, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;
/// Whoever writes the last letter otherwise, or no `=`, means the same bytes.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads a secret as callers send it.
pub(super) fn read(secret: &str) -> Option<Vec<u8>> {
    let bytes = LENIENT.decode(secret.strip_prefix(PREFIX)?).ok()?;
    LENGTHS.contains(&bytes.len()).then_some(bytes)
}

/// A secret as callers see it.
pub(super) fn show(secret: &[u8]) -> String {
    format!("{PREFIX}{}", STANDARD.encode(secret))
}

/// The secret of a tenant, made of the database's own.
pub(super) fn of_tenant(own: &[u8; 32], tenant: &str) -> Vec<u8> {
    mac(own, &[tenant.as_bytes()])
}

/// The value of `webhook-signature`.
pub(super) fn sign(secret: &[u8], (id, timestamp): (&str, u64), body: &[u8]) -> String {
    let timestamp = timestamp.to_string();
    let signature = mac(secret, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body]);
    format!("v1,{}", STANDARD.encode(signature))
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_of_the_specification() {
        // The example of Standard Webhooks' own libraries.
        let secret = read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = sign(
            &secret,
            ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330),
            b"{\"test\": 2432232314}",
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secrets_are_read_back_and_short_ones_refused() {
        let mine = of_tenant(&[7; 32], "sales");
        assert_eq!(read(&show(&mine)), Some(mine.clone()));
        assert_ne!(mine, of_tenant(&[7; 32], "support"));
        assert_ne!(mine, of_tenant(&[8; 32], "sales"));
        let of = |bytes: usize| format!("whsec_{}", "A".repeat(bytes.div_ceil(3) * 4));
        assert!(read(&of(24)).is_some() && read(&of(63)).is_some());
        for wrong in [
            "",
            "whsec_",
            "secret",
            &of(21),
            &of(66),
            "whsec_????????????????????????????????",
            &of(24)[1..],
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
