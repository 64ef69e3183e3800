"use client";

import {
  Area,
  CartesianGrid,
  ComposedChart,
  Legend,
  Line,
  ReferenceLine,
  ResponsiveContainer,
  Tooltip,
  XAxis,
  YAxis,
} from "recharts";
import { time } from "@/lib/numbers";
import { AsTable, AXIS, colour, DASHES, type Datum, inked, type Series, TOOLTIP, ticker } from "./figures";

export interface LinesProps {
  title: string;
  data: Datum[];
  series: Series[];
  format: (value: number | null | undefined) => string;
  /** Low and high of a band around what is to come. */
  band?: { low: string; high: string; name: string };
  mark?: { at: number; name: string };
  whole?: (moment: string) => string;
  /** Where the axis ends, unless the figures say. */
  most?: number;
}

/** Single points would not be seen as a line. */
function few(data: Datum[], key: string) {
  const known = data.filter((datum) => typeof datum[key] === "number").length;
  return known < 8 ? { r: 3, strokeDasharray: "none", fill: "var(--card)" } : false;
}

/** Figures over time. What a bucket has so far is dashed: it is not over yet. */
export default function Lines({ title, data, series, format, band, mark, whole = time, most }: LinesProps) {
  const last = data.length - 1;
  const partial = last > 0 && data[last]?.partial === true;
  const shown = data.map((datum, at) => {
    const row: Datum = { ...datum };
    for (const { key } of series) {
      if (partial && at >= last - 1) row[`${key} so far`] = datum[key];
      if (partial && at === last) row[key] = null;
    }
    if (band) row.band = (datum[band.low] === undefined ? null : [datum[band.low], datum[band.high]]) as never;
    return row;
  });
  const tick = ticker(data.map((datum) => String(datum.at)));
  return (
    <figure aria-label={title}>
      <div className="h-64">
        <ResponsiveContainer width="100%" height="100%">
          <ComposedChart data={shown} margin={{ top: 8, right: 12, bottom: 0, left: 0 }}>
            <CartesianGrid stroke="var(--line)" vertical={false} />
            <XAxis dataKey="at" {...AXIS} tickFormatter={tick} minTickGap={32} />
            <YAxis {...AXIS} width={64} tickFormatter={(value: number) => format(value)} domain={[0, most ?? "auto"]} />
            <Tooltip
              {...TOOLTIP}
              labelFormatter={(at) => whole(String(at))}
              formatter={(value, name) => [
                Array.isArray(value)
                  ? `${format(Number(value[0]))} – ${format(Number(value[1]))}`
                  : format(Number(value)),
                name,
              ]}
            />
            <Legend itemSorter={null} formatter={inked} wrapperStyle={{ fontSize: 12 }} />
            {band && (
              <Area
                dataKey="band"
                name={band.name}
                stroke="none"
                fill={colour(0)}
                fillOpacity={0.2}
                isAnimationActive={false}
                connectNulls={false}
              />
            )}
            {mark && (
              <ReferenceLine
                y={mark.at}
                stroke="var(--ink)"
                strokeDasharray="4 4"
                label={{ value: mark.name, fill: "var(--ink)", fontSize: 12, position: "insideTopRight" }}
              />
            )}
            {series.map((each, at) => (
              <Line
                key={each.key}
                dataKey={each.key}
                name={each.name}
                stroke={colour(at)}
                strokeWidth={2}
                strokeDasharray={each.dash ?? DASHES[at % DASHES.length]}
                dot={few(data, each.key)}
                isAnimationActive={false}
                type="monotone"
                connectNulls
              />
            ))}
            {partial &&
              series.map((each, at) => (
                <Line
                  key={`${each.key} so far`}
                  dataKey={`${each.key} so far`}
                  name={`${each.name}, so far`}
                  stroke={colour(at)}
                  strokeWidth={2}
                  strokeDasharray="2 4"
                  dot={few(data, each.key)}
                  legendType="none"
                  isAnimationActive={false}
                />
              ))}
          </ComposedChart>
        </ResponsiveContainer>
      </div>
      <AsTable
        title={title}
        x="Time"
        xs={(datum) => whole(String(datum.at))}
        series={series}
        data={data}
        format={format}
      />
    </figure>
  );
}
