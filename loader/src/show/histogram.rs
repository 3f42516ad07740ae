//! Histograms, drawn as people know them from bcc and libbpf-tools.

/// Signs of the longest bar.
const BAR: u64 = 40;
/// Slots from which on bounds need wider columns.
const WIDE: usize = 32;

/// Slots of powers of two: slot `i` counts values from 2^i to 2^(i+1) - 1, the first those below 2.
pub fn log2(slots: &[u64], unit: &str) -> String {
    let Some(last) = slots.iter().rposition(|count| *count > 0) else {
        return String::new();
    };
    let is_wide = last > WIDE;
    let (indent, title, width, bar) = match is_wide {
        false => (5, 19, 10, BAR),
        true => (15, 29, 20, BAR / 2),
    };
    let most = slots.iter().copied().max().unwrap_or(0);
    let mut text = format!("{:indent$}{unit:<title$} : count    distribution\n", "");
    for (i, count) in slots.iter().enumerate().take(last + 1) {
        let low = if i == 0 { 0 } else { 1u128 << i };
        let high = (1u128 << (i + 1)) - 1;
        let stars = stars(*count, most, bar);
        text += &format!("{low:>width$} -> {high:<width$} : {count:<8} |{stars}|\n");
    }
    text
}

/// Slots of one width: slot `i` counts values from `i * step` on.
pub fn linear(slots: &[u64], step: u64, unit: &str) -> String {
    let is_used = |count: &u64| *count > 0;
    let Some((first, last)) = slots
        .iter()
        .position(is_used)
        .zip(slots.iter().rposition(is_used))
    else {
        return String::new();
    };
    let most = slots.iter().copied().max().unwrap_or(0);
    let mut text = format!("     {unit:<13} : count     distribution\n");
    for (i, count) in slots.iter().enumerate().take(last + 1).skip(first) {
        let value = i as u64 * step;
        let stars = stars(*count, most, BAR);
        text += &format!("        {value:<10} : {count:<8} |{stars}|\n");
    }
    text
}

fn stars(count: u64, most: u64, bar: u64) -> String {
    let stars = u128::from(count) * u128::from(bar) / u128::from(most.max(1));
    format!(
        "{:<width$}",
        "*".repeat(stars as usize),
        width = bar as usize
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_drawn_as_by_libbpf_tools() {
        let expected = "     usecs               : count    distribution
         0 -> 1          : 1        |*****                                   |
         2 -> 3          : 0        |                                        |
         4 -> 7          : 8        |****************************************|
";
        assert_eq!(log2(&[1, 0, 8, 0], "usecs"), expected);
        assert_eq!(log2(&[0; 8], "usecs"), "");
        let wide = log2(&[1; 64], "nsecs");
        assert!(wide.ends_with(&format!(
            " 9223372036854775808 -> 18446744073709551615 : 1        |{}|\n",
            "*".repeat(20)
        )));
    }

    #[test]
    fn equal_widths_begin_at_the_first_that_is_used() {
        let expected = "     runqlen       : count     distribution
        2          : 4        |****************************************|
        4          : 1        |**********                              |
";
        assert_eq!(linear(&[0, 4, 1, 0], 2, "runqlen"), expected);
        assert_eq!(linear(&[0; 3], 1, "runqlen"), "");
    }
}
