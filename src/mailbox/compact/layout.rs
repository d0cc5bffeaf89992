//! Where everything stands in the file, and what of it is dead.

use super::WORTH;
use super::plan::{Kind, Move, Stretch};
use crate::mailbox::inbox::Inner;
use crate::mailbox::table::Row;
use std::collections::HashMap;

impl Inner {
    /// Is everything we did to the file durable, and noted so, and known what others did?
    pub(in crate::mailbox) fn is_settled(&self) -> bool {
        let doomed = &self.rows().doomed;
        let open = self.log.iter().flat_map(|log| log.sum.intents.keys());
        self.dirty.is_empty()
            && self.orphans.is_empty()
            && self.unsynced.is_none()
            && !self.unfiled
            && !self.doubt.open
            && open.into_iter().all(|uid| doomed.iter().any(|row| row.uid == *uid))
    }

    /// Bytes of the file that are nobody's.
    pub(in crate::mailbox) fn dead_bytes(&self) -> u64 {
        let Some(loaded) = &self.table else { return 0 };
        let all = loaded.table.rows.iter().chain(&loaded.table.doomed);
        loaded.covered.saturating_sub(all.map(|row| row.length).sum())
    }

    pub(super) fn is_worth_compacting(&self) -> bool {
        let dead = self.dead_bytes();
        let all = self.table.as_ref().map_or(0, |loaded| loaded.covered);
        dead > 0 && dead.saturating_mul(WORTH) >= all
    }

    /// Where everything stands, in file order. What was looked at stays known as long as nobody else moved anything.
    pub(super) fn stretches(&mut self) -> Vec<Stretch> {
        let Some(loaded) = &self.table else { return Vec::new() };
        if self.looked.0 != loaded.epoch {
            self.looked = (loaded.epoch, Vec::new());
        }
        let of = |kind| move |row: &Row| Stretch { kind, offset: row.offset, length: row.length };
        let mut known: Vec<Stretch> = loaded.table.rows.iter().map(of(Kind::Alive)).collect();
        known.extend(loaded.table.doomed.iter().map(of(Kind::Stays)));
        known.extend(&self.looked.1);
        known.sort_unstable_by_key(|stretch| stretch.offset);
        let (mut all, mut at) = (Vec::with_capacity(known.len()), 0);
        for stretch in known.into_iter().chain([Stretch { kind: Kind::Stays, offset: loaded.covered, length: 0 }]) {
            if stretch.offset > at {
                all.push(Stretch { kind: Kind::Unknown, offset: at, length: stretch.offset - at });
            }
            if stretch.length > 0 {
                at = stretch.end();
                all.push(stretch);
            }
        }
        all
    }

    pub(super) fn note_looked(&mut self, found: Vec<Stretch>) {
        self.looked.1.extend(found);
    }

    /// Messages are about to be overwritten in their places: who looked one of them up must not take it from what others read
    /// of the file after that.
    pub(in crate::mailbox) fn buries(&mut self) {
        let Some(loaded) = &mut self.table else { return };
        let known = self.looked.0 == loaded.epoch;
        loaded.epoch += 1;
        if known {
            self.looked.0 = loaded.epoch;
        }
    }

    /// The file ends here now. What readers have of it in memory is not what will stand behind.
    pub(super) fn cut(&mut self, size: u64) {
        let Some(loaded) = &mut self.table else { return };
        loaded.epoch += 1;
        let (epoch, looked) = &mut self.looked;
        *epoch = loaded.epoch;
        looked.retain(|stretch| stretch.offset < size);
    }

    /// Messages stand elsewhere now.
    pub(super) fn moved(&mut self, step: &Move) {
        let Some(loaded) = &mut self.table else { return };
        let places: HashMap<u64, u64> = step.places().map(|(stretch, to)| (stretch.offset, to)).collect();
        for row in loaded.table.rows.iter_mut().filter(|row| step.window.contains(&{ row.offset })) {
            row.offset = places.get(&{ row.offset }).copied().unwrap_or(row.offset);
        }
        loaded.epoch += 1;
        let (epoch, looked) = &mut self.looked;
        *epoch = loaded.epoch;
        looked.retain(|stretch| !step.window.contains(&stretch.offset));
        let gap = step.gap();
        let dead = [step.window.start..step.window.start + step.keep, gap].into_iter().filter(|range| !range.is_empty());
        looked.extend(dead.map(|range| Stretch { kind: Kind::Dead, offset: range.start, length: range.end - range.start }));
    }
}
