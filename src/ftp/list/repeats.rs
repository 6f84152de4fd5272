//! Entries of one name: the first wins.

use std::hash::{BuildHasher, RandomState};

use super::RemoteEntry;

/// Removes every entry whose name an earlier one has, and says how many.
///
/// The table holds places, not names: 8 to 16 bytes per entry for the time of the call. The hash is keyed at
/// random, so that a server cannot choose names that collide.
pub(super) fn remove(entries: &mut Vec<RemoteEntry>) -> usize {
    const EMPTY: u32 = u32::MAX;
    let slots = (entries.len() * 2).next_power_of_two();
    let mut table = vec![EMPTY; slots];
    let hasher = RandomState::new();
    let mut repeated = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        // The lower bits of the hash are as good as any; usize may be 32 bits wide.
        let mut slot = hasher.hash_one(&entry.name) as usize & (slots - 1);
        while table[slot] != EMPTY && entries[table[slot] as usize].name != entry.name {
            slot = (slot + 1) & (slots - 1);
        }
        if table[slot] == EMPTY {
            // MAX_ENTRIES is far below EMPTY.
            table[slot] = place as u32;
        } else {
            repeated.push(place);
        }
    }
    if !repeated.is_empty() {
        let mut next = repeated.iter().copied().peekable();
        let mut place = 0;
        entries.retain(|_| {
            let drop = next.next_if_eq(&place).is_some();
            place += 1;
            !drop
        });
    }
    repeated.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::list::{EntryKind, Parsed};

    fn names(text: &[&str]) -> (Vec<String>, usize) {
        let mut entries: Vec<RemoteEntry> = text
            .iter()
            .enumerate()
            .map(|(place, name)| {
                let mut parsed = Parsed::new(name.as_bytes(), EntryKind::File);
                parsed.size = Some(place as u64);
                parsed.clone().into_entry(parsed.name)
            })
            .collect();
        let repeated = remove(&mut entries);
        let shown = entries
            .iter()
            .map(|e| format!("{}{}", String::from_utf8_lossy(&e.name), e.size.unwrap_or_default()))
            .collect();
        (shown, repeated)
    }

    #[test]
    fn the_first_of_each_name_stays_in_its_place() {
        assert_eq!(names(&[]), (vec![], 0));
        assert_eq!(names(&["a"]), (vec!["a0".into()], 0));
        let expected = vec!["b0".into(), "a1".into(), "c4".into()];
        assert_eq!(names(&["b", "a", "b", "a", "c", "b"]), (expected, 3));
    }
}
