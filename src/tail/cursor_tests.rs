//! A cursor through what happens to its file and its deliveries.

use super::*;

fn rules() -> Rules {
    Rules { max_line_bytes: 8, multiline_start: None }
}

/// Reads all that `content` holds, as one chunk a read; the lines that were sent with the chunk's number.
fn read(cursor: &mut Cursor, content: &[u8], chunk: &mut u32) -> Result<Vec<(u32, Vec<u8>)>, Loss> {
    let now = Instant::now();
    let mut sent = Vec::new();
    let mut lines = Vec::new();
    if let Some(loss) = cursor.sized(content.len() as u64, now) {
        return Err(loss);
    }
    while cursor.has_more(&rules(), now) {
        let head = cursor.next().mark.bytes;
        let bytes = &content[cursor.next().at as usize - head..];
        match cursor.taken(bytes, true, &rules(), 2, &mut lines, now) {
            Taken::Restarted(loss) => return Err(loss),
            Taken::Nothing => {}
            Taken::Lines(split) => {
                let line = |(at, length): &(u32, u32)| {
                    (*chunk, bytes[head + *at as usize..head + (*at + *length) as usize].to_vec())
                };
                sent.extend(lines.iter().map(line));
                cursor.sent(*chunk, Mark::of(&bytes[..head + split.consumed]), &split);
                *chunk += 1;
            }
        }
    }
    Ok(sent)
}

fn cursor() -> Cursor {
    Cursor::new(Place::default(), Instant::now())
}

#[test]
fn the_kept_place_moves_over_reported_lines_without_a_gap() {
    let mut cursor = cursor();
    let sent = read(&mut cursor, b"aa\nbb\ncc\ndd\nee\nhalf", &mut 0).unwrap();
    assert_eq!(sent.iter().map(|(chunk, _)| *chunk).collect::<Vec<_>>(), [0, 0, 1, 1, 2]);
    // Reports of the second chunk wait for those of the first.
    cursor.delivered(1, 2, 0, 6, Mark::of(b"cc\ndd\n"), true);
    assert_eq!(cursor.kept().at, 0);
    cursor.delivered(0, 1, 0, 3, Mark::of(b"aa\n"), false);
    assert_eq!((cursor.kept().at, cursor.kept().mark), (3, Mark::of(b"aa\n")));
    cursor.delivered(0, 1, 3, 6, Mark::of(b"aa\nbb\n"), true);
    assert_eq!(cursor.kept().at, 12);
    cursor.delivered(2, 1, 0, 3, Mark::of(b"ee\n"), true);
    assert_eq!((cursor.kept().at, cursor.is_quiet(), cursor.counts.lines), (15, true, 5));
}

#[test]
fn content_of_the_same_length_is_another_one() {
    let mut cursor = cursor();
    read(&mut cursor, b"aa\nbb\n", &mut 0).unwrap();
    assert!(!cursor.has_more(&rules(), Instant::now()));
    cursor.touched();
    assert_eq!(read(&mut cursor, b"aa\nbb\n", &mut 1), Ok(Vec::new()));
    let place = cursor.next().clone();
    cursor.touched();
    assert_eq!(read(&mut cursor, b"aa\ncc\n", &mut 1).map_err(|loss| loss.at), Err(6));
    let mut later = Cursor::new(place, Instant::now());
    assert_eq!(read(&mut later, b"aa\ncc\n", &mut 1).map_err(|loss| loss.at), Err(6));
}

#[test]
fn a_file_that_was_cut_before_anything_was_read_is_told() {
    let mut cursor = cursor();
    assert_eq!(cursor.sized(500, Instant::now()), None);
    assert_eq!(cursor.sized(20, Instant::now()), Some(Loss { at: 0, confirmed: 0, unread: 500 }));
    assert_eq!(read(&mut cursor, b"aa\n", &mut 0).unwrap(), [(0, b"aa".to_vec())]);
}

#[test]
fn lines_that_failed_are_sent_again_from_the_kept_place() {
    let (mut cursor, mut chunk) = (cursor(), 0);
    let content = b"aa\nbb\ncc\ndd\n";
    read(&mut cursor, content, &mut chunk).unwrap();
    let retry = Instant::now();
    cursor.delivered(0, 1, 0, 3, Mark::of(b"aa\n"), false);
    cursor.failed(0, retry, true);
    // What comes behind the gap counts for nothing, and is waited for.
    assert_eq!(cursor.step(false, retry), Step::Rest(None));
    cursor.delivered(1, 2, 0, 6, Mark::of(b"cc\ndd\n"), true);
    assert_eq!(cursor.kept().at, 3);
    assert_eq!(cursor.step(false, retry), Step::Read);
    let again = read(&mut cursor, content, &mut chunk).unwrap();
    assert_eq!(again.into_iter().map(|(_, line)| line).collect::<Vec<_>>(), [b"bb", b"cc", b"dd"]);
}

#[test]
fn other_content_is_read_from_its_beginning_and_old_reports_move_nothing() {
    let (mut cursor, mut chunk) = (cursor(), 0);
    read(&mut cursor, b"aa\nbb\nhalf", &mut chunk).unwrap();
    // The same length and more: only the bytes before the place tell.
    let loss = read(&mut cursor, b"xx\nyy\nzz\n", &mut chunk).unwrap_err();
    assert_eq!((loss.at, loss.confirmed, loss.unread), (6, 0, 4));
    cursor.delivered(0, 2, 0, 6, Mark::of(b"aa\nbb\n"), true);
    assert_eq!((cursor.kept().at, cursor.is_quiet()), (0, true));
    assert_eq!(read(&mut cursor, b"xx\nyy\nzz\n", &mut chunk).unwrap().len(), 3);
    assert_eq!(read(&mut cursor, b"", &mut chunk).unwrap_err().at, 9);
    // Of a half line that was ended, cut, and followed by more than it was, only it itself tells.
    read(&mut cursor, b"half", &mut chunk).unwrap();
    cursor.touched();
    let loss = read(&mut cursor, b"a\nb\nc\nd\n", &mut chunk).unwrap_err();
    assert_eq!((loss.at, loss.unread), (0, 4));
    let lines = read(&mut cursor, b"a\nb\nc\nd\n", &mut chunk).unwrap();
    assert_eq!(lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>(), [b"a", b"b", b"c", b"d"]);
    cursor.seek(Place::default());
    // A half line that is taken back is none of ours.
    read(&mut cursor, b"aa\nhalf", &mut chunk).unwrap();
    assert_eq!(read(&mut cursor, b"aa\n", &mut chunk), Ok(Vec::new()));
    assert_eq!(read(&mut cursor, b"aa\nbb\n", &mut chunk).unwrap().len(), 1);
}

#[test]
fn a_rotated_file_ends_when_nobody_writes_it_and_all_is_reported() {
    let (mut cursor, mut chunk) = (cursor(), 0);
    let now = Instant::now();
    let delay = Duration::from_secs(300);
    read(&mut cursor, b"aa\nhalf", &mut chunk).unwrap();
    cursor.unnamed(now);
    assert_eq!((cursor.step(false, now), cursor.step(true, now)), (Step::Read, Step::AskWriter));
    assert!(!cursor.writer(Some(true), delay, now) && !cursor.writer(None, delay, now));
    assert!(cursor.clone().writer(Some(true), delay, Instant::now() + delay));
    assert!(cursor.writer(Some(false), delay, now));
    assert_eq!(read(&mut cursor, b"aa\nhalf", &mut chunk).unwrap(), [(1, b"half".to_vec())]);
    assert_eq!(cursor.step(true, now), Step::Rest(None));
    cursor.delivered(0, 1, 0, 3, Mark::of(b"aa\n"), true);
    cursor.delivered(1, 1, 0, 5, Mark::of(b"aa\nhalf"), true);
    assert_eq!((cursor.kept().at, cursor.step(true, now)), (7, Step::End));
}

#[test]
fn a_long_line_is_kept_between_its_pieces() {
    let (mut cursor, mut chunk) = (cursor(), 0);
    let content = b"0123456789abcdefXY\nz\n";
    let sent = read(&mut cursor, content, &mut chunk).unwrap();
    let texts: Vec<_> = sent.iter().map(|(_, line)| line.len()).collect();
    assert_eq!((texts, cursor.counts.long_lines), (vec![8, 8, 2, 1], 1));
    cursor.delivered(0, 1, 0, 8, Mark::of(b"01234567"), true);
    assert_eq!((cursor.kept().at, cursor.kept().pieces), (8, 1));
    // From there another process goes on with the second piece.
    let mut next = Cursor::new(cursor.kept().clone(), Instant::now());
    let rest = read(&mut next, content, &mut chunk).unwrap();
    assert_eq!(rest.iter().map(|(_, line)| line.len()).collect::<Vec<_>>(), [8, 2, 1]);
}

#[test]
fn what_failed_at_the_end_of_a_file_is_read_again() {
    let mut cursor = Cursor::new(Place::default(), Instant::now());
    read(&mut cursor, b"aa\nbb\n", &mut 0).unwrap();
    let retry = Instant::now();
    cursor.failed(0, retry, true);
    // Nothing has come, and nothing will: the look at it says that it is at its end.
    assert_eq!(cursor.step(true, retry), Step::Read);
    assert_eq!(cursor.next().at, 0);
}
