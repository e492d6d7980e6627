use std::fmt;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use sha2::{Digest, Sha256};

use super::ApiError;
use crate::State;

/// The token that publishers show. Only its digest is kept, and digests are compared in constant time.
pub struct Token([u8; 32]);

impl Token {
    /// The token of a text.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    fn is(&self, text: &str) -> bool {
        let other = Self::new(text).0;
        let differing = self
            .0
            .iter()
            .zip(other)
            .fold(0, |bits, (one, two)| bits | (one ^ two));
        std::hint::black_box(differing) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token")
    }
}

/// Proof that the request shows the token: `Authorization: Bearer …` (RFC 6750, section 2.1).
#[derive(Debug)]
pub struct Publisher;

impl FromRequestParts<Arc<State>> for Publisher {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, Self::Rejection> {
        let header = parts
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        // RFC 9110, section 11.1: the scheme's case does not matter.
        let shown = header
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        match shown {
            Some((_, token)) if state.token.is(token.trim()) => Ok(Self),
            Some(_) => Err(ApiError::WrongToken),
            None => Err(ApiError::NoToken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = Token::new("abcdef");
        assert!(token.is("abcdef"));
        for wrong in ["", "abcde", "abcdeg", "abcdef0", "ABCDEF"] {
            assert!(!token.is(wrong), "{wrong}");
        }
    }
}
