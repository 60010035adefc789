//! Options whose values are whole numbers: whatever is wrong with one is said in the same form, with the numbers that
//! there are.

/// The longest time in seconds that fits where one is kept: 68 years.
pub(super) const SECONDS: i64 = i32::MAX as i64;

/// The most of what is counted in 32 bits.
pub(super) const COUNT: i64 = u32::MAX as i64;

/// What reads a whole number from `least` on.
pub(super) fn from<T>(least: i64) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: TryFrom<i64>,
{
    between(least, i64::MAX)
}

/// What reads a whole number from `least` to `most`.
pub(super) fn between<T>(least: i64, most: i64) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: TryFrom<i64>,
{
    move |text| {
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| match most {
            i64::MAX => format!("must be a whole number from {least} on"),
            most => format!("must be a whole number from {least} to {most}"),
        })
    }
}

/// Reads any whole number.
pub(super) fn any(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| "must be a whole number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_and_what_is_out_of_range_are_told_what_there_is() {
        assert_eq!(from::<u16>(0)("7"), Ok(7));
        assert_eq!(between::<i32>(-1, 5)("-1"), Ok(-1));
        for text in ["x", "", "-1", "1.5", "1k", "99999999999999999999"] {
            assert_eq!(from::<i64>(0)(text).unwrap_err(), "must be a whole number from 0 on");
        }
        for text in ["6", "-2", "0x1"] {
            let refused = between::<i32>(-1, 5)(text).unwrap_err();
            assert_eq!(refused, "must be a whole number from -1 to 5", "{text}");
        }
        assert_eq!((any("-7"), any("x").is_err()), (Ok(-7), true));
    }
}
