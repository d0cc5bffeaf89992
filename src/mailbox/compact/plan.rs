//! What to do next to get rid of the dead: a pure function of where everything stands.

use std::ops::Range;

/// What a part of the file is to the planner.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message.
    Alive,
    /// A dead message.
    Dead,
    /// What must stay where it is.
    Stays,
    /// Not known: probably dead, but nobody looked.
    Unknown,
}

/// A part of the file: one message, or what is not known.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub kind: Kind,
    pub offset: u64,
    pub length: u64,
}

impl Stretch {
    /// Where the next one begins.
    pub fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// What binds the planner.
#[derive(Copy, Clone, Debug)]
pub struct Limits {
    /// Bytes of messages that move in one step, if it is more than one.
    pub most: u64,
    /// The smallest dead message: no smaller gap is made.
    pub dead: u64,
    /// Bytes at the start of the file that must stay a dead message, because of the base line; zero: the first message that
    /// is alive takes the line over.
    pub front: u64,
}

/// A step: within this window, these messages move to its front (behind `keep` bytes), and what is left becomes one dead message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub window: Range<u64>,
    /// So many bytes become, or stay, a dead message of their own in front.
    pub keep: u64,
    /// In file order.
    pub alive: Vec<Stretch>,
}

impl Move {
    /// Bytes that move.
    pub fn bytes(&self) -> u64 {
        self.alive.iter().map(|stretch| stretch.length).sum()
    }

    /// Each message's place, and its new one.
    pub fn places(&self) -> impl Iterator<Item = (Stretch, u64)> + '_ {
        let mut to = self.window.start + self.keep;
        self.alive.iter().map(move |stretch| {
            to += stretch.length;
            (*stretch, to - stretch.length)
        })
    }

    /// What becomes one dead message.
    pub fn gap(&self) -> Range<u64> {
        self.window.start + self.keep + self.bytes()..self.window.end
    }
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Look what this is, and ask again.
    Look(Range<u64>),
    /// Move messages.
    Move(Move),
    /// Cut the file here.
    Cut(u64),
    /// The dead are gone, but for what is not worth it or can't be.
    Nothing,
}

/// The next step. `stretches` follow each other without a gap, from the start of the file to its end.
pub fn plan(stretches: &[Stretch], limits: Limits) -> Next {
    let mut rest = stretches;
    while let Some(first) = rest.iter().position(|stretch| matches!(stretch.kind, Kind::Dead | Kind::Unknown)) {
        let window = rest.get(first..).unwrap_or_default();
        match within(window, limits) {
            Ok(next) => return next,
            Err(passed) => rest = window.get(passed..).unwrap_or_default(),
        }
    }
    Next::Nothing
}

/// What to do where the dead begin. An error: nothing, with so many stretches.
fn within(stretches: &[Stretch], limits: Limits) -> Result<Next, usize> {
    let start = stretches.first().map_or(0, |stretch| stretch.offset);
    let keep = if start == 0 { limits.front } else { 0 };
    let (mut alive, mut bytes, mut gap, mut end) = (Vec::new(), 0, 0, start);
    let mut to_the_end = true;
    for (at, stretch) in stretches.iter().enumerate() {
        match stretch.kind {
            Kind::Unknown => return Ok(Next::Look(stretch.offset..stretch.end())),
            Kind::Dead => gap += stretch.length,
            // Too small a gap: it waits for others, or for ever.
            Kind::Alive if alive.is_empty() && gap < keep + limits.dead => return Err(at),
            Kind::Alive if alive.is_empty() || bytes + stretch.length <= limits.most => {
                alive.push(*stretch);
                bytes += stretch.length;
            }
            Kind::Stays if alive.is_empty() => return Err(at),
            Kind::Alive | Kind::Stays => {
                to_the_end = false;
                break;
            }
        }
        end = stretch.end();
    }
    match alive.is_empty() {
        false => Ok(Next::Move(Move { window: start..end, keep, alive })),
        // Where nobody is alive, the file is emptied in another way.
        true if to_the_end && start > 0 => Ok(Next::Cut(start)),
        true => Err(stretches.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { most: 100, dead: 63, front: 0 };

    fn stretches(parts: &[(Kind, u64)]) -> Vec<Stretch> {
        let mut offset = 0;
        let place = |(kind, length): &(Kind, u64)| {
            offset += length;
            Stretch { kind: *kind, offset: offset - length, length: *length }
        };
        parts.iter().map(place).collect()
    }

    fn moved(next: Next) -> (Range<u64>, usize, Range<u64>) {
        let Next::Move(step) = next else { panic!("{next:?}") };
        (step.window.clone(), step.alive.len(), step.gap())
    }

    #[test]
    fn one_step_takes_what_fits_and_leaves_one_gap() {
        use Kind::{Alive, Dead};
        let parts = [(Alive, 50), (Dead, 70), (Alive, 40), (Dead, 10), (Alive, 60), (Alive, 1), (Dead, 5)];
        assert_eq!(moved(plan(&stretches(&parts), LIMITS)), (50..230, 2, 150..230));
        // A message bigger than a step is one.
        assert_eq!(moved(plan(&stretches(&[(Dead, 70), (Alive, 500), (Alive, 1)]), LIMITS)), (0..570, 1, 500..570));
    }

    #[test]
    fn the_end_is_cut_and_what_is_too_small_stays() {
        use Kind::{Alive, Dead, Stays, Unknown};
        assert_eq!(plan(&stretches(&[(Alive, 50), (Dead, 10), (Dead, 1)]), LIMITS), Next::Cut(50));
        assert_eq!(plan(&stretches(&[(Alive, 50), (Dead, 62), (Alive, 9)]), LIMITS), Next::Nothing);
        assert_eq!(plan(&stretches(&[(Dead, 100)]), LIMITS), Next::Nothing);
        assert_eq!(plan(&stretches(&[(Dead, 100), (Stays, 1), (Alive, 5)]), LIMITS), Next::Nothing);
        assert_eq!(plan(&stretches(&[(Alive, 5), (Unknown, 9)]), LIMITS), Next::Look(5..14));
        assert_eq!(plan(&stretches(&[]), LIMITS), Next::Nothing);
    }

    #[test]
    fn a_dead_message_stays_in_front_where_the_base_line_needs_it() {
        use Kind::{Alive, Dead};
        let limits = Limits { front: 97, ..LIMITS };
        let next = plan(&stretches(&[(Dead, 200), (Alive, 30)]), limits);
        let Next::Move(step) = next else { panic!() };
        assert_eq!(step.places().map(|(_, to)| to).collect::<Vec<_>>(), [97]);
        assert_eq!(step.gap(), 127..230);
        assert_eq!(plan(&stretches(&[(Dead, 159), (Alive, 30)]), limits), Next::Nothing);
    }
}
