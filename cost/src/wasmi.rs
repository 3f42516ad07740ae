//! The same prices for wasmi, which counts by itself, told without depending on it.

/// An `OperatorCost` of wasmi with the prices of this crate. What it does not name costs there what it does here.
#[macro_export]
macro_rules! operator_costs {
    ($costs:ident) => {
        $costs {
            // Its places of payment cost a unit each, as here.
            block: 1,
            br: 0,
            call: $crate::CALL as u8,
            call_indirect: $crate::CALL as u8,
            br_table: $crate::TABLE as u8,
            i32_clz: $crate::COUNT as u8,
            i64_clz: $crate::COUNT as u8,
            i32_ctz: $crate::COUNT as u8,
            i64_ctz: $crate::COUNT as u8,
            i32_popcnt: $crate::COUNT as u8,
            i64_popcnt: $crate::COUNT as u8,
            i32_div_s: $crate::DIVISION as u8,
            i64_div_s: $crate::DIVISION as u8,
            i32_div_u: $crate::DIVISION as u8,
            i64_div_u: $crate::DIVISION as u8,
            i32_rem_s: $crate::DIVISION as u8,
            i64_rem_s: $crate::DIVISION as u8,
            i32_rem_u: $crate::DIVISION as u8,
            i64_rem_u: $crate::DIVISION as u8,
            memory_init: $crate::BULK as u8,
            data_drop: $crate::BULK as u8,
            memory_copy: $crate::BULK as u8,
            memory_fill: $crate::BULK as u8,
            memory_grow: $crate::BULK as u8,
            table_init: $crate::BULK as u8,
            elem_drop: $crate::BULK as u8,
            table_copy: $crate::BULK as u8,
            table_fill: $crate::BULK as u8,
            table_grow: $crate::BULK as u8,
            table_size: $crate::BULK as u8,
            ..$costs::default()
        }
    };
}
