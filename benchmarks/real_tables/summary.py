"""What the results of ``tables.py`` say, table by table and of each group of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from real_tables.sources import CHOICE, KEPT_BACK

if TYPE_CHECKING:
    from collections.abc import Sequence

GROUPS: Final = {"choice": CHOICE, "kept_back": KEPT_BACK}
UNITS: Final = {
    "log_loss": "nats",
    "error": "share",
    "nrmse": "deviations",
    "cpu_s": "s",
    "wall_s": "s",
    "failed": "reason",
}


def summarise(results: Sequence[dict[str, Any]], methods: Sequence[str]) -> None:
    """Print the figures of each group of tables; the first of the methods is ours."""
    records = pd.DataFrame(results)
    records = records[records["method"].isin(methods)]
    for column in ("log_loss", "error", "nrmse", "failed"):
        if column not in records:
            records[column] = np.nan
    for _, one in records[records["failed"].notna()].iterrows():
        print(f"tables.{one['table']}.{one['seed']}.{one['method']}.failed {one['failed'].replace(' ', '_')} reason")
    records = records[records["failed"].isna()].copy()
    records["loss"] = records["log_loss"].fillna(records["nrmse"])
    records["wrong"] = records["error"].fillna(records["nrmse"])
    for group, names in GROUPS.items():
        of_group = {
            name: common
            for name in names
            if (common := _common(records[records["table"] == name], methods)) is not None
        }
        left_out = [name for name in names if name not in of_group and name in set(records["table"])]
        print(f"tables.{group}.left_out {','.join(left_out) or 'none'} names")
        for name, common in of_group.items():
            _print_table(name, common, methods)
        if of_group:
            _print_group(group, of_group, methods)


def _common(records: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame | None:
    """Keep the splits that all methods have done; none: ``None``."""
    counts = records.groupby("seed")["method"].nunique()
    common = records[records["seed"].isin(counts[counts == len(methods)].index)]
    return None if common.empty else common


def _print_table(name: str, records: pd.DataFrame, methods: Sequence[str]) -> None:
    print(f"tables.{name}.splits {records['seed'].nunique()} count")
    for method in methods:
        of_method = records[records["method"] == method]
        for figure in ("log_loss", "error", "nrmse"):
            values = of_method[figure].dropna()
            if len(values):
                print(f"tables.{name}.{method}.{figure} {values.mean():.4f} {UNITS[figure]}")
                print(f"tables.{name}.{method}.{figure}_standard_error {values.sem():.4f} {UNITS[figure]}")
        print(f"tables.{name}.{method}.cpu_s {of_method['cpu_s'].mean():.2f} s")


def _print_group(group: str, tables: dict[str, pd.DataFrame], methods: Sequence[str]) -> None:
    """Print how the methods compare over the tables of a group; the first method is ours."""
    mine, *peers = methods

    def means(column: str) -> pd.DataFrame:
        return pd.DataFrame({name: one.groupby("method")[column].mean() for name, one in tables.items()}).T[methods]

    losses, wrong, seconds = means("loss"), means("wrong"), means("cpu_s")
    print(f"tables.{group}.tables {len(tables)} count")
    print(f"tables.{group}.fits_of_each_method {sum(len(one) for one in tables.values()) // len(methods)} count")
    for method, rank in losses.rank(axis=1).mean().items():
        print(f"tables.{group}.{method}.mean_rank {rank:.2f} rank")
    for method in methods:
        total = sum(one.loc[one["method"] == method, "cpu_s"].sum() for one in tables.values())
        print(f"tables.{group}.{method}.cpu_s {total:.1f} s")
    for peer in peers:
        print(f"tables.{group}.{mine}.ahead_of_{peer} {(losses[mine] < losses[peer]).mean():.3f} share")
        ratios = ((wrong[mine] + 1e-12) / (wrong[peer] + 1e-12)).median()  # none wrong of both: 1
        print(f"tables.{group}.{mine}.median_error_over_{peer} {ratios:.3f} x")
        ratios = (losses[mine] / losses[peer]).median()
        print(f"tables.{group}.{mine}.median_loss_over_{peer} {ratios:.3f} x")
        print(f"tables.{group}.{mine}.cpu_s_over_{peer} {seconds[mine].sum() / seconds[peer].sum():.3f} x")
    if peers:
        near = pd.DataFrame({name: _near_best(one, mine, peers) for name, one in tables.items()}).T
        print(f"tables.{group}.{mine}.within_a_standard_error_of_best {near[0].mean():.3f} share")
        print(f"tables.{group}.{mine}.within_that_of_the_difference {near[1].mean():.3f} share")
        print(f"tables.{group}.{mine}.behind_on {','.join(near.index[near[0] == 0]) or 'none'} names")


def _near_best(records: pd.DataFrame, mine: str, peers: Sequence[str]) -> tuple[float, float]:
    """Say (1 or 0) whether ours is at most a standard error behind the peer of the least mean, or better.

    First by the standard error of that peer's mean, then by that of the mean difference of the two over the splits.
    """
    by_split = records.pivot_table(index="seed", columns="method", values="loss")
    best = by_split[list(peers)].mean().idxmin()
    behind = by_split[mine] - by_split[best]
    allowed = [np.nan_to_num(values.sem()) for values in (by_split[best], behind)]
    return float(behind.mean() <= allowed[0]), float(behind.mean() <= allowed[1])
