"use client";

import { Cell, Pie, PieChart, ResponsiveContainer, Tooltip } from "recharts";
import { share } from "@/lib/numbers";
import { colour, TOOLTIP } from "./figures";

export interface SharesProps {
  title: string;
  data: { name: string; value: number; told: string }[];
}

/** Parts of a whole, each with its name and share beside the picture. */
export default function Shares({ title, data }: SharesProps) {
  const total = data.reduce((sum, each) => sum + each.value, 0);
  return (
    <figure aria-label={title} className="flex flex-col items-center gap-4 sm:flex-row">
      <div className="h-52 w-full sm:w-1/3">
        <ResponsiveContainer width="100%" height="100%">
          <PieChart>
            <Pie
              data={data}
              dataKey="value"
              nameKey="name"
              innerRadius="55%"
              outerRadius="90%"
              isAnimationActive={false}
              stroke="var(--card)"
            >
              {data.map((each, at) => (
                <Cell key={each.name} fill={colour(at)} />
              ))}
            </Pie>
            <Tooltip {...TOOLTIP} formatter={(value, name) => [share(Number(value) / total), name]} />
          </PieChart>
        </ResponsiveContainer>
      </div>
      <table className="tabular w-full text-sm sm:w-2/3">
        <caption className="sr-only">{title}</caption>
        <tbody>
          {data.map((each, at) => (
            <tr key={each.name}>
              <th scope="row" className="py-1 pl-5 -indent-5 break-words text-left font-normal" title={each.name}>
                <span
                  aria-hidden="true"
                  className="mr-2 inline-block size-3 rounded-sm"
                  style={{ background: colour(at) }}
                />
                {each.name}
              </th>
              <td className="whitespace-nowrap py-1 pl-2 text-right">{each.told}</td>
              <td className="whitespace-nowrap py-1 pl-2 text-right text-muted">
                {total ? share(each.value / total) : "–"}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </figure>
  );
}
