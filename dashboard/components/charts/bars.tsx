"use client";

import { Bar, BarChart, CartesianGrid, Legend, ResponsiveContainer, Tooltip, XAxis, YAxis } from "recharts";
import { time } from "@/lib/numbers";
import { AsTable, AXIS, colour, type Datum, inked, type Series, TOOLTIP, ticker } from "./figures";

export interface BarsProps {
  title: string;
  data: Datum[];
  series: Series[];
  format: (value: number | null | undefined) => string;
  /** The axis has names, and no moments. */
  named?: boolean;
  /** Where the axis ends, unless the figures say. */
  most?: number;
}

/** Amounts on top of one another, over time or by name. */
export default function Bars({ title, data, series, format, named = false, most }: BarsProps) {
  const tick = ticker(data.map((datum) => String(datum.at)));
  const full = (at: string) => (named ? at : time(at));
  return (
    <figure aria-label={title}>
      <div className="h-64">
        <ResponsiveContainer width="100%" height="100%">
          <BarChart
            data={data}
            layout={named ? "vertical" : "horizontal"}
            margin={{ top: 8, right: 12, bottom: 0, left: 0 }}
          >
            <CartesianGrid stroke="var(--line)" vertical={named} horizontal={!named} />
            {named ? (
              <>
                <XAxis
                  type="number"
                  {...AXIS}
                  domain={[0, most ?? "auto"]}
                  tickFormatter={(value: number) => format(value)}
                />
                <YAxis
                  type="category"
                  dataKey="at"
                  {...AXIS}
                  width={136}
                  interval={0}
                  tickFormatter={(name: string) => (name.length > 18 ? `${name.slice(0, 17)}…` : name)}
                />
              </>
            ) : (
              <>
                <XAxis dataKey="at" {...AXIS} tickFormatter={tick} minTickGap={32} />
                <YAxis {...AXIS} width={64} tickFormatter={(value: number) => format(value)} />
              </>
            )}
            <Tooltip
              {...TOOLTIP}
              cursor={{ fill: "var(--line)", fillOpacity: 0.4 }}
              labelFormatter={(at) => full(String(at))}
              formatter={(value, name) => [format(Number(value)), name]}
            />
            {series.length > 1 && <Legend itemSorter={null} formatter={inked} wrapperStyle={{ fontSize: 12 }} />}
            {series.map((each, at) => (
              <Bar
                key={each.key}
                dataKey={each.key}
                name={each.name}
                stackId="all"
                fill={colour(at)}
                stroke="var(--card)"
                maxBarSize={36}
                isAnimationActive={false}
              />
            ))}
          </BarChart>
        </ResponsiveContainer>
      </div>
      <AsTable
        title={title}
        x={named ? "Name" : "Time"}
        xs={(datum) => full(String(datum.at))}
        series={series}
        data={data}
        format={format}
      />
    </figure>
  );
}
