import { Suspense } from "react";
import { Logo } from "@/components/mark";
import { LoginForm } from "./form";

export const metadata = { title: "Log in · Asahi" };

export default function Login() {
  return (
    <main className="flex min-h-dvh flex-col items-center justify-center gap-6 p-4">
      <Logo />
      <div className="w-full max-w-md rounded-xl border border-line bg-card p-6">
        <h1 className="text-xl font-semibold">Log in</h1>
        <p className="mb-5 mt-1 text-sm text-muted">
          With an API key of your organisation. The key stays on the server.
        </p>
        <Suspense fallback={<div className="h-80" />}>
          <LoginForm />
        </Suspense>
      </div>
    </main>
  );
}
