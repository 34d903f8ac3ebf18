//! Which of several kinds of answer is wanted, by `Accept` (RFC 9110, section 12.5.1).

use http::{HeaderMap, header};

/// The place of the media type that is wanted most: the first of those that are wanted equally, and the first of
/// all when nothing is said, or nothing that there is. Parameters but `q` are not looked at.
pub(super) fn preferred(headers: &HeaderMap, offered: &[&str]) -> usize {
    let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let mut wanted = (0, 0.0);
    for (place, offered) in offered.iter().enumerate() {
        let quality = quality(&accept, offered);
        if quality > wanted.1 {
            wanted = (place, quality);
        }
    }
    wanted.0
}

/// How much a media type is wanted, by the range that fits it best; 0 is not at all.
fn quality(accept: &[&str], offered: &str) -> f32 {
    let mut best = (0, 0.0);
    for range in accept.iter().flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let family = media.strip_suffix("/*").filter(|family| offered.split('/').next() == Some(family));
        let fits = match media {
            _ if media.eq_ignore_ascii_case(offered) => 3,
            _ if family.is_some() => 2,
            "*/*" => 1,
            _ => continue,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let quality = weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
        if fits > best.0 || (fits == best.0 && quality > best.1) {
            best = (fits, quality);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_wanted_most_is_given() {
        const OFFERED: [&str; 2] = ["text/plain", "application/openmetrics-text"];
        // What Prometheus asks for, in version 2 and in version 3 with another order set.
        let newer = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let older =
            "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.2";
        for (accept, place) in [
            ("", 0),
            ("*/*", 0),
            (newer, 1),
            (older, 0),
            ("application/openmetrics-text", 1),
            ("Application/OpenMetrics-Text", 1),
            ("application/*", 1),
            ("text/plain;q=0, */*", 1),
            ("application/openmetrics-text; q=0, */*", 0),
            ("application/openmetrics-text;q=x", 0),
            ("image/png", 0),
            (",;,", 0),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(preferred(&headers, &OFFERED), place, "{accept}");
        }
        assert_eq!(preferred(&HeaderMap::new(), &OFFERED), 0);
    }
}
