import Link from "next/link";

/** The sun over the horizon, which leads home. */
export function Logo({ small = false }: { small?: boolean }) {
  return (
    <Link href="/" className="inline-flex min-h-10 items-center gap-2 font-semibold">
      <svg aria-hidden="true" viewBox="0 0 32 32" className="size-8">
        <path d="M4 22a12 12 0 0 1 24 0z" fill="#ff6b35" />
        <path d="M2 26h28" stroke="#ffb84d" strokeWidth="3" strokeLinecap="round" />
        <path d="M16 3v4M5 8l2.5 2.5M27 8l-2.5 2.5" stroke="#ffb84d" strokeWidth="2.5" strokeLinecap="round" />
      </svg>
      <span className={small ? "sr-only" : "text-lg"}>Asahi</span>
    </Link>
  );
}
