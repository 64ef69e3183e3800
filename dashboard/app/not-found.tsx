import Link from "next/link";
import { buttonStyle } from "@/components/button";

export default function NotFound() {
  return (
    <main className="flex min-h-dvh flex-col items-center justify-center gap-4 p-6 text-center">
      <p className="text-sm font-medium text-muted">404</p>
      <h1 className="text-2xl font-semibold">There is nothing at this address</h1>
      <Link href="/dashboard/" className={buttonStyle({ kind: "primary" })}>
        To the dashboard
      </Link>
    </main>
  );
}
