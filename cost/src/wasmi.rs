//! The same prices for wasmi, which counts by itself, told without depending on it.

/// `$costs`, an `OperatorCost` of wasmi, with the prices of this crate. What it leaves alone costs there what it does here.
#[macro_export]
macro_rules! operator_costs {
    ($costs:expr) => {{
        let mut costs = $costs;
        // Its own way of paying is an instruction, which who enters the loop pays.
        costs.loop_ = 1;
        (costs.call, costs.call_indirect) = ($crate::CALL as u8, $crate::CALL as u8);
        costs.br_table = $crate::TABLE as u8;
        (costs.i32_clz, costs.i64_clz) = ($crate::COUNT as u8, $crate::COUNT as u8);
        (costs.i32_ctz, costs.i64_ctz) = ($crate::COUNT as u8, $crate::COUNT as u8);
        (costs.i32_popcnt, costs.i64_popcnt) = ($crate::COUNT as u8, $crate::COUNT as u8);
        (costs.i32_div_s, costs.i64_div_s) = ($crate::DIVISION as u8, $crate::DIVISION as u8);
        (costs.i32_div_u, costs.i64_div_u) = ($crate::DIVISION as u8, $crate::DIVISION as u8);
        (costs.i32_rem_s, costs.i64_rem_s) = ($crate::DIVISION as u8, $crate::DIVISION as u8);
        (costs.i32_rem_u, costs.i64_rem_u) = ($crate::DIVISION as u8, $crate::DIVISION as u8);
        (costs.memory_init, costs.data_drop) = ($crate::BULK as u8, $crate::BULK as u8);
        (costs.memory_copy, costs.memory_fill) = ($crate::BULK as u8, $crate::BULK as u8);
        (costs.table_init, costs.elem_drop) = ($crate::BULK as u8, $crate::BULK as u8);
        (costs.table_copy, costs.table_fill) = ($crate::BULK as u8, $crate::BULK as u8);
        (costs.table_grow, costs.table_size) = ($crate::BULK as u8, $crate::BULK as u8);
        costs.memory_grow = $crate::BULK as u8;
        costs
    }};
}
