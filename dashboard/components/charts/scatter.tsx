"use client";

import { CartesianGrid, Legend, ResponsiveContainer, Scatter, ScatterChart, Tooltip, XAxis, YAxis } from "recharts";
import { money, quality } from "@/lib/numbers";
import { AXIS, colour, inked, TOOLTIP } from "./figures";

export interface DotsProps {
  title: string;
  data: { name: string; cost: number; quality: number }[];
}

const SHAPES = ["circle", "square", "triangle", "diamond", "star", "cross"] as const;

/** Quality against cost: up is better, left is cheaper. The table beside it holds the same numbers. */
export default function Dots({ title, data }: DotsProps) {
  return (
    <figure aria-label={title}>
      <div className="h-64">
        <ResponsiveContainer width="100%" height="100%">
          <ScatterChart margin={{ top: 16, right: 24, bottom: 4, left: 0 }}>
            <CartesianGrid stroke="var(--line)" />
            <XAxis type="number" dataKey="cost" name="Cost" {...AXIS} tickFormatter={(value: number) => money(value)} />
            <YAxis
              type="number"
              dataKey="quality"
              name="Quality"
              {...AXIS}
              width={40}
              domain={[0, 5]}
              ticks={[0, 1, 2, 3, 4, 5]}
            />
            <Tooltip
              {...TOOLTIP}
              formatter={(value, name) => [name === "Cost" ? money(Number(value)) : quality(Number(value)), name]}
            />
            <Legend itemSorter={null} formatter={inked} wrapperStyle={{ fontSize: 12 }} />
            {data.map((each, at) => (
              <Scatter
                key={each.name}
                name={each.name}
                data={[each]}
                fill={colour(at)}
                shape={SHAPES[at % SHAPES.length]}
                legendType={SHAPES[at % SHAPES.length]}
                isAnimationActive={false}
              />
            ))}
          </ScatterChart>
        </ResponsiveContainer>
      </div>
      <details className="mt-2 text-sm">
        <summary className="inline-block min-h-6 text-muted underline underline-offset-2">View as table</summary>
        <table className="tabular mt-2 w-full text-xs">
          <caption className="sr-only">{title}</caption>
          <thead>
            <tr>
              <th scope="col" className="p-2 text-left">
                Model
              </th>
              <th scope="col" className="p-2 text-right">
                Cost a request
              </th>
              <th scope="col" className="p-2 text-right">
                Quality of 5
              </th>
            </tr>
          </thead>
          <tbody>
            {data.map((each) => (
              <tr key={each.name} className="border-t border-line">
                <th scope="row" className="p-2 text-left font-normal">
                  {each.name}
                </th>
                <td className="p-2 text-right">{money(each.cost)}</td>
                <td className="p-2 text-right">{quality(each.quality)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </figure>
  );
}
