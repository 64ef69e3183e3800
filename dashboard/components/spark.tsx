/** The shape of a figure over time, without axes: the chart and the table say the rest. */
export function Spark({ values }: { values: (number | null | undefined)[] }) {
  const known = values.map((value, at) => [at, value] as const).filter(([, value]) => typeof value === "number");
  const most = Math.max(...known.map(([, value]) => Number(value)), 0);
  if (known.length < 3 || most === 0) return null;
  const points = known.map(
    ([at, value]) =>
      `${((100 * at) / (values.length - 1)).toFixed(1)},${(22 - (20 * Number(value)) / most).toFixed(1)}`,
  );
  return (
    <svg aria-hidden="true" viewBox="0 0 100 24" preserveAspectRatio="none" className="mt-2 h-6 w-full">
      <polyline
        points={points.join(" ")}
        fill="none"
        stroke="var(--series-1)"
        strokeWidth="1.5"
        vectorEffect="non-scaling-stroke"
      />
    </svg>
  );
}
