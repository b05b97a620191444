//! Where a request ends: bytes come in as they arrive, whole JSON objects go out. Nothing is looked at twice, and
//! nothing grows beyond a request's limit.

/// Bytes of one request.
pub const REQUEST_MAX: usize = 64 << 10;

/// What has come of a connection and is not taken yet.
#[derive(Debug, Default)]
pub struct Frame {
    bytes: Vec<u8>,
    /// Everything before is looked at.
    at: usize,
    /// Braces that are open.
    depth: usize,
    in_text: bool,
    escaped: bool,
}

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
pub enum Cut {
    /// The beginning of a request, or nothing.
    More,
    /// One JSON object, as far as its braces tell.
    Request(Vec<u8>),
    /// No request, and why.
    Refused(&'static str),
}

impl Frame {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole request. After a refusal nothing more is to be expected.
    pub fn next_request(&mut self) -> Cut {
        while let Some(byte) = self.bytes.get(self.at).copied() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' if self.depth == 0 => {
                    let blanks = self.bytes.iter().take_while(|b| b.is_ascii_whitespace()).count();
                    self.bytes.drain(..blanks);
                    continue;
                }
                b'\n' => return Cut::Refused("the line ends before the JSON object does"),
                _ if self.at == REQUEST_MAX => return Cut::Refused("a request has at most 65536 bytes"),
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_text => self.escaped = true,
                b'"' if self.depth > 0 => self.in_text = !self.in_text,
                _ if self.in_text => {}
                b'{' => self.depth += 1,
                b'}' if self.depth == 1 => {
                    let rest = self.bytes.split_off(self.at + 1);
                    *self = Frame { bytes: std::mem::take(&mut self.bytes), ..Frame::default() };
                    return Cut::Request(std::mem::replace(&mut self.bytes, rest));
                }
                b'}' if self.depth > 1 => self.depth -= 1,
                _ if self.depth == 0 => {
                    return Cut::Refused("a request is one JSON object, such as {\"command\":\"status\"}");
                }
                _ => {}
            }
            self.at += 1;
        }
        Cut::More
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(parts: &[&[u8]]) -> Vec<Cut> {
        let mut frame = Frame::default();
        let mut cuts = Vec::new();
        for part in parts {
            frame.push(part);
            loop {
                match frame.next_request() {
                    Cut::More => break,
                    refused @ Cut::Refused(_) => {
                        cuts.push(refused);
                        return cuts;
                    }
                    request => cuts.push(request),
                }
            }
        }
        cuts
    }

    #[test]
    fn requests_end_with_their_object_and_need_no_newline() {
        let request = |text: &str| Cut::Request(text.as_bytes().to_vec());
        assert_eq!(all(&[br#"{"a":"}\"{"}"#]), [request(r#"{"a":"}\"{"}"#)]);
        assert_eq!(all(&[b"{}\n", b" {\"a\":{\"b\":{}}} \r\n{"]), [request("{}"), request(r#"{"a":{"b":{}}}"#)]);
        assert_eq!(all(&[b"{\"a", b"\":1}{}"]), [request(r#"{"a":1}"#), request("{}")]);
    }

    #[test]
    fn what_is_no_request_is_refused_at_once() {
        for text in ["x", "[]", "\"{}\"", "}", "{\n", "{\"a\":\"\n"] {
            assert!(matches!(all(&[text.as_bytes()])[..], [Cut::Refused(_)]), "{text}");
        }
    }

    #[test]
    fn the_limit_is_exact() {
        let of = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8)).into_bytes();
        assert_eq!(all(&[&of(REQUEST_MAX)]), [Cut::Request(of(REQUEST_MAX))]);
        assert_eq!(all(&[&of(REQUEST_MAX + 1)]), [Cut::Refused("a request has at most 65536 bytes")]);
    }

    proptest! {
        #[test]
        fn any_json_object_is_found_whole_however_it_arrives(
            texts in prop::collection::vec("[{}\"\\\\\\[\\]:,a\u{0}-\u{1f}é ]{0,12}", 1..6), step in 1..9_usize,
        ) {
            let objects: Vec<Vec<u8>> = texts
                .iter()
                .map(|text| serde_json::to_vec(&serde_json::json!({ text.clone(): [text, { "n": text }] })).unwrap())
                .collect();
            let stream = objects.join(&b"\n"[..]);
            let parts: Vec<&[u8]> = stream.chunks(step).collect();
            let wanted: Vec<Cut> = objects.into_iter().map(Cut::Request).collect();
            prop_assert_eq!(all(&parts), wanted);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), step in 1..40_usize) {
            let mut frame = Frame::default();
            for part in bytes.chunks(step) {
                frame.push(part);
                loop {
                    match frame.next_request() {
                        Cut::More => break,
                        Cut::Request(request) => {
                            let braces = (request.first(), request.last());
                            prop_assert_eq!(braces, (Some(&b'{'), Some(&b'}')));
                        }
                        Cut::Refused(_) => return Ok(()),
                    }
                }
            }
        }
    }
}
