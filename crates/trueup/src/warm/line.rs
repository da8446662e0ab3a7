//! One line of an access log, or of a list of keys.

use super::Routes;

/// What a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    pub(super) class: &'a str,
    pub(super) key: &'a str,
    pub(super) times: u64,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A read of a key.
    Asked(Asked<'a>),
    /// Nothing at all, or a comment.
    Empty,
    /// Something else: another URL, a request that failed or was no read.
    Other,
}

/// Reads a line of Common Log Format (or Combined), a URL, or a key: `CLASS KEY`, and of a file of one class, `KEY` alone. A
/// count and a tab may stand in front of the latter two.
pub(super) fn read<'a>(line: &'a str, routes: &'a Routes, class: Option<&'a str>) -> Line<'a> {
    let line = line.trim_end_matches(['\r', '\n']);
    if line.trim().is_empty() || line.starts_with('#') {
        return Line::Empty;
    }
    let of_class = |asked: &Asked<'_>| class.is_none_or(|class| class == asked.class);
    if let Some(request) = request(line) {
        let url = match request {
            Request::Read(url) => url,
            Request::Other => return Line::Other,
        };
        let found = routes.find(url).map(|(class, key)| Asked { class, key, times: 1 });
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
        let found = routes.find(rest).map(|(class, key)| Asked { class, key, times });
        if let Some(asked) = found.filter(of_class) {
            return Line::Asked(asked);
        }
        // A key of a file of one class may begin with anything.
        if class.is_none() {
            return Line::Other;
        }
    }
    match (class, rest.split_once([' ', '\t'])) {
        (Some(class), _) => Line::Asked(Asked { class, key: rest, times }),
        (None, Some((class, key))) => Line::Asked(Asked { class, key: key.trim_start(), times }),
        (None, None) => Line::Other,
    }
}

enum Request<'a> {
    /// It was answered.
    Read(&'a str),
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
    let status: Option<u16> = after.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
    let is_read = matches!(method, Some("GET" | "HEAD"));
    let is_answer = status.is_some_and(|status| (200..400).contains(&status));
    Some(match url {
        Some(url) if is_read && is_answer => Request::Read(url),
        _ => Request::Other,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(class: &'static str, key: &'static str, times: u64) -> Line<'static> {
        Line::Asked(Asked { class, key, times })
    }

    #[test]
    fn access_logs_urls_and_lists_are_read() {
        let routes = Routes(vec!["product=/p/{key}".parse().unwrap()]);
        let log = |request: &str, status: &str| {
            format!(r#"10.0.0.1 - ada [26/Nov/2026:04:35:30 +0000] "{request}" {status} 512 "-" "curl/8""#)
        };
        for (line, expected) in [
            (log("GET /p/42 HTTP/1.1", "200"), asked("product", "42", 1)),
            (log("HEAD /v1/user/7 HTTP/1.1", "304"), asked("user", "7", 1)),
            (log("GET /p/42 HTTP/1.1", "404"), Line::Other),
            (log("POST /p/42 HTTP/1.1", "200"), Line::Other),
            (log("GET /other HTTP/1.1", "200"), Line::Other),
            (log("", "400"), Line::Other),
            ("/p/42".to_owned(), asked("product", "42", 1)),
            ("12\thttps://shop.example/p/42?utm=1".to_owned(), asked("product", "42", 12)),
            ("user 42".to_owned(), asked("user", "42", 1)),
            ("1204\tsearch q=red shoes\r".to_owned(), asked("search", "q=red shoes", 1204)),
            ("7.5\tuser 42".to_owned(), asked("user", "42", 7)),
            ("word".to_owned(), Line::Other),
            ("# user 42".to_owned(), Line::Empty),
            (" \r\n".to_owned(), Line::Empty),
        ] {
            assert_eq!(read(&line, &routes, None), expected, "{line}");
        }
    }

    #[test]
    fn a_file_of_one_class_has_its_keys_alone_and_what_is_of_other_classes_is_left_out() {
        let routes = Routes::default();
        let of = |line| read(line, &routes, Some("shelf"));
        assert_eq!(of("shoes,red"), asked("shelf", "shoes,red", 1));
        assert_eq!(of("977\tshoes, red"), asked("shelf", "shoes, red", 977));
        assert_eq!(of("/v1/shelf/hats"), asked("shelf", "hats", 1));
        assert_eq!(of("/tmp"), asked("shelf", "/tmp", 1), "a key may begin with anything");
        let log = r#"h - - [t] "GET /v1/user/1 HTTP/1.1" 200 1"#;
        assert_eq!(read(log, &routes, Some("shelf")), Line::Other);
    }

    proptest! {
        #[test]
        fn no_line_panics(line in ".{0,200}") {
            let _ = read(&line, &Routes::default(), None);
            let _ = read(&line, &Routes::default(), Some("c"));
        }
    }
}
