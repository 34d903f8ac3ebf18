//! The whole message, for strict mode and for edits that need the body.

use super::{
    body::{Cursor, Step, Steps},
    element::Element,
    header::HeaderIndex,
    malformed::{Malformed, Problem},
};

/// Checks what follows SyncHdr: well-formed to the end, one SyncBody, nothing behind the root,
/// nothing nested too deep or too large.
///
/// # Errors
/// [`Malformed`]: what is wrong, and where.
pub fn check(raw: &[u8], index: &HeaderIndex) -> Result<(), Malformed> {
    let mut cursor = Cursor::body(raw, index)?;
    let mut body = false;
    while let Some(step) = cursor.step()? {
        match step {
            Step::Start { element: Element::SyncHdr, tag, .. } if cursor.depth() == 2 => {
                return Err(Malformed { problem: Problem::Duplicate("SyncHdr"), at: tag.start });
            }
            Step::Start { element: Element::SyncBody, tag, .. } if cursor.depth() == 2 => {
                if body {
                    return Err(Malformed { problem: Problem::Duplicate("SyncBody"), at: tag.start });
                }
                body = true;
            }
            Step::Start { .. } | Step::Text(_) | Step::End { .. } => {}
        }
    }
    if body { Ok(()) } else { Err(Malformed::new(Problem::Missing("SyncBody"), raw.len())) }
}
