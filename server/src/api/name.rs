use std::str::FromStr;

use super::ApiError;

/// A model, build, channel or digest from the path.
pub fn name<T>(text: &str) -> Result<T, ApiError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error: T::Err| ApiError::Name(error.to_string()))
}
