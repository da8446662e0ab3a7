//! Names that look as if they held secrets or codes: never served by zero configuration.

/// Version of the rules below. Part of the class digest, because they decide what a stored value contains.
pub(super) const SECRET_RULES_VERSION: u32 = 1;

/// Words that make a name look secret, with what they stand for. Compared with whole words of the name, so that
/// `pinned`, `tokenizer` and `spinner` are nothing special.
const SECRET_WORDS: &[(&str, &str)] = &[
    ("password", "a password"),
    ("passwords", "a password"),
    ("passwd", "a password"),
    ("passphrase", "a password"),
    ("passcode", "a code"),
    ("pwd", "a password"),
    ("secret", "a secret"),
    ("secrets", "a secret"),
    ("token", "a token"),
    ("tokens", "a token"),
    ("jwt", "a token"),
    ("otp", "a one-time code"),
    ("otps", "a one-time code"),
    ("totp", "a one-time code"),
    ("hotp", "a one-time code"),
    ("mfa", "a one-time code"),
    ("2fa", "a one-time code"),
    ("pin", "a PIN"),
    ("pins", "a PIN"),
    ("cvv", "a card's check code"),
    ("cvv2", "a card's check code"),
    ("cvc", "a card's check code"),
    ("cvc2", "a card's check code"),
    ("apikey", "an API key"),
    ("apikeys", "an API key"),
    ("privatekey", "a private key"),
    ("credential", "credentials"),
    ("credentials", "credentials"),
    ("salt", "a password's salt"),
    ("ssn", "a social security number"),
];

/// Neighbouring words that together make a name look secret.
const SECRET_PAIRS: &[(&str, &str, &str)] = &[
    ("pass", "word", "a password"),
    ("pass", "phrase", "a password"),
    ("pass", "hash", "a password"),
    ("api", "key", "an API key"),
    ("api", "keys", "an API key"),
    ("access", "key", "an API key"),
    ("private", "key", "a private key"),
    ("private", "keys", "a private key"),
    ("signing", "key", "a private key"),
    ("encryption", "key", "a private key"),
    ("recovery", "code", "a one-time code"),
    ("recovery", "codes", "a one-time code"),
    ("backup", "code", "a one-time code"),
    ("backup", "codes", "a one-time code"),
    ("verification", "code", "a one-time code"),
    ("auth", "code", "a one-time code"),
    ("security", "code", "a card's check code"),
    ("social", "security", "a social security number"),
    ("user", "hash", "a password"),
];

/// What a table or column of that name probably holds that must not be served unasked; `None` if nothing.
///
/// Names are cut into words at `_`, `-`, `.`, blanks and changes of letter case (`apiKey`, `APIKey`), and digits at
/// their end are dropped (`password2`).
#[must_use]
pub fn looks_secret(name: &str) -> Option<&'static str> {
    let words = words(name);
    let whole = |word: &str| {
        let plain = word.trim_end_matches(|c: char| c.is_ascii_digit());
        SECRET_WORDS.iter().find(|(secret, _)| *secret == word || *secret == plain).map(|(_, what)| *what)
    };
    let pair = |pair: &[String]| {
        SECRET_PAIRS
            .iter()
            .find(|(first, second, _)| pair[0] == *first && pair[1] == *second)
            .map(|(.., what)| *what)
    };
    words.iter().find_map(|word| whole(word)).or_else(|| words.windows(2).find_map(pair))
}

fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let letters: Vec<char> = name.chars().collect();
    for (i, &letter) in letters.iter().enumerate() {
        let follows_small = i > 0 && (letters[i - 1].is_lowercase() || letters[i - 1].is_ascii_digit());
        let ends_capitals = i > 0
            && letters[i - 1].is_uppercase()
            && letters.get(i + 1).is_some_and(|next| next.is_lowercase());
        let separator = !letter.is_alphanumeric();
        if separator || (letter.is_uppercase() && (follows_small || ends_capitals)) {
            words.push(String::new());
        }
        if let (false, Some(word)) = (separator, words.last_mut()) {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_however_they_are_written() {
        for name in [
            "password",
            "Password",
            "user_passwd",
            "pwd",
            "client_secret",
            "secrets",
            "token",
            "refresh_token",
            "accessToken",
            "otp",
            "otp_codes",
            "pin",
            "card_pin",
            "PIN",
            "cvv",
            "cvc2",
            "api_key",
            "apiKey",
            "APIKey",
            "apikey",
            "private_key",
            "privateKey",
            "password_hash",
            "passHash",
            "salt",
            "ssn",
            "social_security_no",
            "password2",
            "totp_seed",
            "recovery-codes",
            "pass_phrase",
        ] {
            assert!(looks_secret(name).is_some(), "{name} was not seen");
        }
    }

    #[test]
    fn ordinary_names_are_left_alone() {
        for name in [
            "pinned",
            "tokenizer",
            "spinner",
            "shipping",
            "passenger",
            "compass",
            "secretary",
            "saltwater",
            "key",
            "primary_key",
            "public_key",
            "code",
            "country_code",
            "zip_code",
            "opinion",
            "hash",
            "content_hash",
            "optional",
            "laptop",
            "assessment",
            "session",
            "account",
            "",
            "_",
            "pineapple",
            "adopt",
            "mission",
        ] {
            assert_eq!(looks_secret(name), None, "{name} was taken for a secret");
        }
    }
}
