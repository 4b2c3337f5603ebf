//! Tests of the mask with synthetic output; tests/masking.rs uses real programs.

use super::{MASK, MaskStream, SecretMask};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use data_encoding::HEXLOWER;
use proptest::prelude::*;

const SECRET: &str = "s3cr3t/va'lue with\"quotes+";

fn masked(mask: &SecretMask, chunks: &[&[u8]]) -> Vec<u8> {
    let mut stream = MaskStream::default();
    let mut output = Vec::new();
    for chunk in chunks {
        output.extend(mask.push(&mut stream, chunk));
    }
    output.extend(mask.finish(&mut stream));
    output
}

#[test]
fn secret_is_masked_in_every_printed_form() {
    let mask = SecretMask::new([SECRET]).unwrap();
    let hex = HEXLOWER.encode(SECRET.as_bytes());
    let wrapped: String = {
        let text = STANDARD.encode(format!("{}{SECRET}{}", "x".repeat(50), "y".repeat(50)));
        let lines: Vec<_> = text.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
        lines.join("\n") + "\n"
    };
    for (printed, expected) in [
        (SECRET.to_owned(), ""),
        (format!("Authorization: {SECRET}\n"), "Authorization: \n"),
        ("s3cr3t%2Fva%27lue%20with%22quotes%2B".into(), ""),
        ("s3cr3t%2fva%27lue+with%22quotes%2b".into(), ""),
        (serde_json::json!({ "key": SECRET }).to_string(), "{\"key\":\"\"}"),
        ("'s3cr3t/va'\\''lue with\"quotes+'".into(), "''"),
        (hex.to_uppercase(), ""),
        (hex, ""),
    ] {
        let output = String::from_utf8(masked(&mask, &[printed.as_bytes()])).unwrap();
        assert_eq!(output.replace("[masked]", ""), expected, "{printed}");
        assert!(output.contains("[masked]"), "{printed}");
    }
    for before in 0..4 {
        let text = STANDARD.encode(format!("{}{SECRET}", "-".repeat(before)));
        let output = String::from_utf8(masked(&mask, &[text.as_bytes()])).unwrap();
        assert!(output.contains("[masked]") && output.len() < 20, "{before}: {output}");
    }
    let output = String::from_utf8(masked(&mask, &[wrapped.as_bytes()])).unwrap();
    assert!(output.contains("[masked]"), "{output}");
    assert!(!output.replace('\n', "").contains(&STANDARD.encode(&SECRET[2..20])[..20]), "{output}");
}

#[test]
fn each_line_of_a_multiline_secret_is_masked() {
    let mask = SecretMask::new(["-----BEGIN KEY-----\nabcdef\nxyz\nghijkl\n"]).unwrap();
    assert_eq!(masked(&mask, &[b"> abcdef <\n> ghijkl <\nxyz\n"]), b"> [masked] <\n> [masked] <\nxyz\n");
    assert_eq!(mask.mask_text("cat: -----BEGIN KEY-----"), "cat: [masked]");
}

const KEY_FILE: &str = r#"{
  "type": "account",
  "keys": [
    {
      "id": "k-4711-abcd",
      "private": "MIIEvQIBADANBgkq"
    },
    null, true
  ]
}
"#;

#[test]
fn case_everyday_23_json_secret_masks_its_values_and_no_brackets() {
    let mask = SecretMask::new([KEY_FILE]).unwrap();
    let other = "[\n    {\n      \"name\": \"mill\",\n      \"parts\": [\n        {\n        }\n      ]\n    },\n    null\n]\n";
    assert_eq!(mask.mask_text(other), other);
    for printed in [
        "      \"id\": \"k-4711-abcd\",\n",
        "\"id\": \"k-4711-abcd\"\n",
        "\"id\":\"k-4711-abcd\",\n",
        "> \t\"private\": \"MIIEvQIBADANBgkq\"\n",
    ] {
        let masked = mask.mask_text(printed);
        assert!(
            masked.contains("[masked]") && !masked.contains("4711") && !masked.contains("MIIE"),
            "{masked}"
        );
    }
    assert_eq!(mask.mask_text(KEY_FILE), "[masked]");
    let encoded = STANDARD.encode(KEY_FILE);
    let lines: Vec<_> = encoded.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
    assert_eq!(mask.mask_text(&lines.join("\n")), "[masked]");
}

#[test]
fn case_real_15_base64_is_masked_to_its_last_digit() {
    let text = "k-4711-Abcd/Zyx_098.private+value=";
    for length in super::MIN_LEN..=text.len() {
        let secret = &text[..length];
        let mask = SecretMask::new([secret]).unwrap();
        for end in ["", "\n", "\"}", "xyz"] {
            let output = mask.mask_text(&STANDARD.encode(format!("{secret}{end}")));
            let rest = output.strip_prefix("[masked]");
            // No digit that holds a bit of the secret is left.
            let digits = |bytes: usize| (bytes * 8).div_ceil(6);
            let after = digits(length + end.len()) - digits(length);
            assert!(
                rest.is_some_and(|rest| rest.trim_end_matches('=').len() <= after),
                "{secret}{end}: {output}"
            );
            assert!(!(end.is_empty() && rest != Some("")), "{secret}: {output}");
        }
    }
}

#[test]
fn output_without_the_start_of_a_secret_is_not_delayed() {
    let mask = SecretMask::new(["password"]).unwrap();
    let mut stream = MaskStream::default();
    assert_eq!(mask.push(&mut stream, b"step 1 of 2"), b"step 1 of 2");
    assert_eq!(mask.push(&mut stream, b"; pass"), b"; ");
    assert_eq!(mask.push(&mut stream, b"ed\n"), b"passed\n");
    assert_eq!(mask.push(&mut stream, b"passw"), b"");
    // The next bytes may belong to an overlapping secret.
    assert_eq!(mask.push(&mut stream, b"ord"), b"");
    assert_eq!(mask.push(&mut stream, b".pa"), b"[masked].");
    assert_eq!(mask.finish(&mut stream), b"pa");
}

#[test]
fn overlapping_secrets_are_masked_whole() {
    let mask = SecretMask::new(["abcdefgh", "efghSECRETTAIL"]).unwrap();
    assert_eq!(masked(&mask, &[b"<abcdefghSECRETTAIL>"]), b"<[masked]>");
    let mask = SecretMask::new(["abcdXYZabcd"]).unwrap();
    assert_eq!(masked(&mask, &[b"abcdXYZabcdXYZabcd", b"!"]), b"[masked]!");
    // A secret that overlaps a match whose mask is already released.
    let mask = SecretMask::new(["12345678", "5678abcd"]).unwrap();
    assert_eq!(masked(&mask, &[b"1234", b"5678", b"ab", b"cd", b"."]), b"[masked].");
}

#[test]
fn base64_is_masked_for_any_line_length() {
    let mask = SecretMask::new([SECRET]).unwrap();
    let text = STANDARD.encode(SECRET);
    for width in [1, 2, 19] {
        let lines: Vec<_> = text.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
        let bytes = lines.join("\r\n").into_bytes();
        let output = masked(&mask, &bytes.chunks(1).collect::<Vec<_>>());
        assert!(
            output.starts_with(MASK) && output.len() < MASK.len() + 8,
            "{}",
            String::from_utf8_lossy(&output)
        );
    }
}

#[test]
fn short_and_empty_values_are_not_masked() {
    for mask in [SecretMask::new([]).unwrap(), SecretMask::new(["abc", ""]).unwrap()] {
        assert_eq!(masked(&mask, &[b"abc", b"abc\n"]), b"abcabc\n");
    }
}

proptest! {
    #[test]
    fn secret_is_masked_for_any_chunking(
        secret in "[a-zA-Z0-9+/=_.-]{8,40}",
        before in "[ \\n#]{0,20}",
        after in "[ \\n#]{0,20}",
        encoded in any::<bool>(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mask = SecretMask::new([secret.as_str()]).unwrap();
        let body = if encoded { STANDARD.encode(format!("user:{secret}")) } else { secret.clone() };
        let text = format!("{before}{body}{after}");
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
        let output = masked(&mask, &chunks);
        prop_assert_eq!(&output, &masked(&mask, &[text.as_bytes()]), "cuts do not matter");
        let output = String::from_utf8(output).unwrap();
        prop_assert!(!output.contains(&secret), "{}", output);
        prop_assert!(output.contains("[masked]"), "{}", output);
    }

    #[test]
    fn output_without_secrets_is_unchanged(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        cut in any::<prop::sample::Index>(),
    ) {
        let mask = SecretMask::new(["a secret that nobody prints"]).unwrap();
        let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
        prop_assert_eq!(masked(&mask, &[first, second]), bytes.clone());
    }
}
