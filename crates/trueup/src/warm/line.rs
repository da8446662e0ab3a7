//! One line of an access log, or of a list of keys.

use super::{Routes, clock};

/// What a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The class.
    pub class: &'a str,
    /// The key, as it is written.
    pub key: &'a str,
    /// How often: the count in front of a line of a list; 1 in a log.
    pub times: u64,
    /// When the answer was given, in seconds since 1970; none where the line tells no time.
    pub unix_s: Option<i64>,
    /// Bytes of the answer's body; none where the line tells none, or the answer had no body (304, HEAD).
    pub bytes: Option<u64>,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A read of a key.
    Asked(Asked<'a>),
    /// Nothing at all, or a comment.
    Empty,
    /// Something else: another URL, a request that failed or was no read.
    Other,
}

/// Reads a line of Common Log Format (or Combined), a URL, or a key: `CLASS KEY`, and of a file of one class, `KEY` alone. A
/// count and a tab may stand in front of the latter two.
pub fn read_line<'a>(line: &'a str, routes: &'a Routes, class: Option<&'a str>) -> Line<'a> {
    let line = line.trim_end_matches(['\r', '\n']);
    if line.trim().is_empty() || line.starts_with('#') {
        return Line::Empty;
    }
    let of_class = |asked: &Asked<'_>| class.is_none_or(|class| class == asked.class);
    let plain = |class, key, times| Asked { class, key, times, unix_s: None, bytes: None };
    if let Some(request) = request(line) {
        let Request::Read { url, unix_s, bytes } = request else { return Line::Other };
        let found = routes.find(url).map(|(class, key)| Asked { unix_s, bytes, ..plain(class, key, 1) });
        return found.filter(of_class).map_or(Line::Other, Line::Asked);
    }
    let (times, rest) = match line.split_once('\t') {
        Some((count, rest)) if count.trim().parse::<f64>().is_ok_and(|count| count >= 0.0) => {
            // A fraction is for people; it is hot all the same.
            (count.trim().parse::<f64>().map_or(1, |count| (count as u64).max(1)), rest)
        }
        _ => (1, line),
    };
    let rest = rest.trim();
    if rest.starts_with('/') || rest.starts_with("http://") || rest.starts_with("https://") {
        let found = routes.find(rest).map(|(class, key)| plain(class, key, times));
        if let Some(asked) = found.filter(of_class) {
            return Line::Asked(asked);
        }
        // A key of a file of one class may begin with anything.
        if class.is_none() {
            return Line::Other;
        }
    }
    match (class, rest.split_once([' ', '\t'])) {
        (Some(class), _) => Line::Asked(plain(class, rest, times)),
        (None, Some((class, key))) => Line::Asked(plain(class, key.trim_start(), times)),
        (None, None) => Line::Other,
    }
}

enum Request<'a> {
    /// It was answered.
    Read {
        url: &'a str,
        unix_s: Option<i64>,
        bytes: Option<u64>,
    },
    Other,
}

/// The request of a line of Common Log Format: `HOST - USER [TIME] "GET URL HTTP/1.1" STATUS BYTES ...`; none if it is no such
/// line.
fn request(line: &str) -> Option<Request<'_>> {
    let (before, rest) = line.split_once('"')?;
    if !before.contains('[') || !before.trim_end().ends_with(']') {
        return None;
    }
    let (request, after) = rest.split_once('"')?;
    let mut words = request.split(' ');
    let (method, url) = (words.next(), words.next());
    let mut answer = after.split_ascii_whitespace();
    let status: Option<u16> = answer.next().and_then(|word| word.parse().ok());
    let is_read = matches!(method, Some("GET" | "HEAD"));
    let is_answer = status.is_some_and(|status| (200..400).contains(&status));
    Some(match url {
        Some(url) if is_read && is_answer => Request::Read {
            url,
            unix_s: before
                .rsplit_once('[')
                .and_then(|(_, time)| clock::unix_s(time.trim_end_matches([' ', ']']))),
            bytes: answer.next().and_then(|word| word.parse().ok()).filter(|bytes| *bytes > 0),
        },
        _ => Request::Other,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(class: &'static str, key: &'static str, times: u64) -> Line<'static> {
        Line::Asked(Asked { class, key, times, unix_s: None, bytes: None })
    }

    /// The same, as a log tells it.
    fn logged(class: &'static str, key: &'static str, bytes: Option<u64>) -> Line<'static> {
        Line::Asked(Asked { class, key, times: 1, unix_s: Some(1_795_667_730), bytes })
    }

    #[test]
    fn access_logs_urls_and_lists_are_read() {
        let routes = Routes(vec!["product=/p/{key}".parse().unwrap()]);
        let log = |request: &str, status: &str| {
            format!(r#"10.0.0.1 - ada [26/Nov/2026:04:35:30 +0000] "{request}" {status} "-" "curl/8""#)
        };
        for (line, expected) in [
            (log("GET /p/42 HTTP/1.1", "200 512"), logged("product", "42", Some(512))),
            (log("HEAD /v1/user/7 HTTP/1.1", "304 -"), logged("user", "7", None)),
            (log("GET /p/42 HTTP/1.1", "304 0"), logged("product", "42", None)),
            (log("GET /p/42 HTTP/1.1", "404 512"), Line::Other),
            (log("POST /p/42 HTTP/1.1", "200 512"), Line::Other),
            (log("GET /other HTTP/1.1", "200 512"), Line::Other),
            (log("", "400 512"), Line::Other),
            ("/p/42".to_owned(), asked("product", "42", 1)),
            ("12\thttps://shop.example/p/42?utm=1".to_owned(), asked("product", "42", 12)),
            ("user 42".to_owned(), asked("user", "42", 1)),
            ("1204\tsearch q=red shoes\r".to_owned(), asked("search", "q=red shoes", 1204)),
            ("7.5\tuser 42".to_owned(), asked("user", "42", 7)),
            ("word".to_owned(), Line::Other),
            ("# user 42".to_owned(), Line::Empty),
            (" \r\n".to_owned(), Line::Empty),
        ] {
            assert_eq!(read_line(&line, &routes, None), expected, "{line}");
        }
    }

    #[test]
    fn a_file_of_one_class_has_its_keys_alone_and_what_is_of_other_classes_is_left_out() {
        let routes = Routes::default();
        let of = |line| read_line(line, &routes, Some("shelf"));
        assert_eq!(of("shoes,red"), asked("shelf", "shoes,red", 1));
        assert_eq!(of("977\tshoes, red"), asked("shelf", "shoes, red", 977));
        assert_eq!(of("/v1/shelf/hats"), asked("shelf", "hats", 1));
        assert_eq!(of("/tmp"), asked("shelf", "/tmp", 1), "a key may begin with anything");
        let log = r#"h - - [t] "GET /v1/user/1 HTTP/1.1" 200 1"#;
        assert_eq!(read_line(log, &routes, Some("shelf")), Line::Other);
    }

    proptest! {
        #[test]
        fn no_line_panics(line in ".{0,200}") {
            let _ = read_line(&line, &Routes::default(), None);
            let _ = read_line(&line, &Routes::default(), Some("c"));
        }
    }
}
